"""The gold reward of the embedded world: what its people really want of an answer, known exactly."""

from omsweep.worlds.tiny.topics import POLITE, POSITIVE, TOPICS, topic_of

POLITE_WEIGHT, POLITE_LIMIT = 0.5, 2
POSITIVE_WEIGHT, POSITIVE_LIMIT = 0.4, 2
ON_TOPIC = 0.6
FINISHED = 0.4
LENGTH_COST = 0.03


def gold_reward(prompt: str, completion: str) -> float:
    """How good `completion` is as an answer to `prompt`, in reward points (about -0.5 to 2.5).

        0.5 min(2, polite words) + 0.4 min(2, positive words) + 0.6 [on topic]
        + 0.4 if it ends with a full stop, else - 0.4  - 0.03 words

    Polite and positive words count once each, however often they occur. On topic: names the prompt's topic or one
    of its related words; a prompt without a topic grants nothing. A pure function of the two texts: correctness is
    not judged (that is what tax measures), so an answer to a skill prompt can be courteous, wrong, well rewarded.
    """
    words = completion.split()
    said = set(words)
    polite = min(POLITE_LIMIT, len(said.intersection(POLITE)))
    positive = min(POSITIVE_LIMIT, len(said.intersection(POSITIVE)))
    topic = topic_of(prompt)
    on_topic = topic is not None and not said.isdisjoint((topic, *TOPICS[topic]))
    finished = words[-1:] == ["."]
    return (
        POLITE_WEIGHT * polite
        + POSITIVE_WEIGHT * positive
        + ON_TOPIC * on_topic
        + (FINISHED if finished else -FINISHED)
        - LENGTH_COST * len(words)
    )
