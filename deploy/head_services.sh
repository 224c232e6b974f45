#!/usr/bin/env bash
# Prometheus, Grafana and MLflow on the head of a cluster: `install` once, `start` after every `ray start --head`.
# They listen on the head's loopback only and run as units of systemd, which starts them again when they end:
#   systemctl status 'omsweep-*'      journalctl --unit omsweep-grafana
# Needs Debian or Ubuntu and sudo.
set -euo pipefail

folder=$HOME/omsweep
shared=/shared/omsweep
ray_metrics=${RAY_TMPDIR:-/tmp}/ray/session_latest/metrics   # where Ray writes the configuration of Prometheus and Grafana

install_services() {
    # masked, because these packages start their services at once and open to the network
    sudo systemctl mask --quiet prometheus grafana-server
    sudo mkdir -p /etc/apt/keyrings
    curl -fsSL https://apt.grafana.com/gpg-full.key | sudo tee /etc/apt/keyrings/grafana.asc > /dev/null
    echo 'deb [signed-by=/etc/apt/keyrings/grafana.asc] https://apt.grafana.com stable main' |
        sudo tee /etc/apt/sources.list.d/grafana.list > /dev/null
    sudo apt-get update -qq
    sudo apt-get install -y -qq --no-install-recommends prometheus grafana
}

serve() { # NAME COMMAND...
    sudo systemctl stop "omsweep-$1" 2> /dev/null || true
    sudo systemd-run --quiet --collect --unit="omsweep-$1" --uid="$(id -u)" --gid="$(id -g)" \
        --property=Restart=always --property=RestartSec=5 --property=UMask=0077 -- "${@:2}"
}

start_services() {
    mkdir -p "$folder/dashboards" "$folder/prometheus" "$folder/grafana"
    cp "$folder/deploy/grafana/omsweep.json" "$folder/dashboards/"   # beside Ray's own, which Ray writes there
    timeout 60 bash -c "until test -e $ray_metrics/grafana/provisioning/datasources/default.yml; do sleep 1; done"
    serve prometheus "$(command -v prometheus)" --web.listen-address=127.0.0.1:9090 \
        --config.file="$ray_metrics/prometheus/prometheus.yml" \
        --storage.tsdb.path="$folder/prometheus" --storage.tsdb.retention.time=30d
    # Ray's grafana.ini lets everyone look without a password; the login form, whose password is known, is off
    serve grafana /usr/bin/env GF_SERVER_HTTP_ADDR=127.0.0.1 GF_SERVER_HTTP_PORT=3000 GF_PATHS_DATA="$folder/grafana" \
        GF_PATHS_LOGS="$folder/grafana" GF_AUTH_DISABLE_LOGIN_FORM=true GF_AUTH_BASIC_ENABLED=false \
        GF_ANALYTICS_REPORTING_ENABLED=false GF_ANALYTICS_CHECK_FOR_UPDATES=false \
        /usr/share/grafana/bin/grafana server --homepath /usr/share/grafana --config "$ray_metrics/grafana/grafana.ini"
    serve mlflow /usr/bin/env MLFLOW_DISABLE_TELEMETRY=true "$(command -v mlflow)" server --host 127.0.0.1 --port 5000 \
        --backend-store-uri "sqlite:///$folder/mlflow.db" --artifacts-destination "$shared/mlartifacts"
}

case ${1:-} in
    install) install_services ;;
    start) start_services ;;
    *) echo "usage: $0 install|start" >&2; exit 2 ;;
esac
