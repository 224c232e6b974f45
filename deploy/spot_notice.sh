#!/usr/bin/env bash
# Tells Ray that AWS takes this spot node away, two minutes before it does: Ray places nothing new here, and trials save
# and go on elsewhere. `start` leaves it running; `watch` is what then runs. On an on-demand node no notice ever comes.
set -euo pipefail

metadata=${SPOT_METADATA:-http://169.254.169.254/latest}
pause=${SPOT_PAUSE_S:-5}

notice() { # fails as long as there is none
    local token
    token=$(curl -fsS -m 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$metadata/api/token") &&
        curl -fsS -m 5 -H "X-aws-ec2-metadata-token: $token" "$metadata/meta-data/spot/instance-action"
}

case ${1:-} in
    start)
        sudo systemctl stop omsweep-spot-notice 2> /dev/null || true
        sudo systemd-run --quiet --collect --unit=omsweep-spot-notice --uid="$(id -u)" --gid="$(id -g)" \
            --property=Restart=on-failure --property=RestartSec=5 --setenv=PATH="$PATH" --setenv=HOME="$HOME" \
            --setenv=RAY_AUTH_MODE=token -- bash "$(readlink -f "$0")" watch
        ;;
    watch)
        until text=$(notice 2> /dev/null); do sleep "$pause"; done
        ray drain-node --reason DRAIN_NODE_REASON_PREEMPTION --reason-message "AWS: $text" --deadline-remaining-seconds 110
        ;;
    *) echo "usage: $0 start|watch" >&2; exit 2 ;;
esac
