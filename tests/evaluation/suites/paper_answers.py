"""Right and wrong answers to the samples of the suite `paper`, scored by its own tasks; as a script: the scores."""
# ruff: noqa: RUF001 - texts in other scripts

import json
import sys
from collections.abc import Iterator
from typing import Any

RIGHT_INSTRUCTIONS = [
    "Rain falls on the roof and the garden drinks it.",
    "a garden with roses and a small pond, where frogs sing at night.",
    "The old bridge crosses the river near the mill and carries carts, bikes and people from one town to the other.",
    "People walk to the river in good shoes.",
    '"A cat sat on a wall and waited for the moon."',
    "Bread is made of water and grain and time.",
    "* Tea is green.\n* Tea is black.\n* Tea is white.",
    "<<The clock>>\nIt stands in the hall.",
    "Snow is quiet. Is there anything else I can help with?",
    '{"market": "open on Saturday"}',
]
IN_LANGUAGE = {
    "en": "I like the sea because it is calm in the morning and you can hear the birds.",
    "zh": "我喜欢秋天，因为天气凉爽，可以去山里散步。",
    "de": "Ein guter Nachbar grüßt und hilft, wenn man ihn braucht.",
    "fr": "Les gens voyagent pour voir le monde et pour apprendre.",
    "es": "Con arroz se puede cocinar una sopa o un plato con verduras.",
    "ja": "休日は家で本を読んだり、散歩したりします。",
    "ko": "건강을 지키려면 잘 먹고 많이 걸어야 합니다.",
    "ru": "Читать книги важно, потому что они учат нас думать.",
    "ar": "المشي كل يوم مفيد للصحة والعقل.",
}


def tagged(calls: Any) -> str:
    listed = calls if isinstance(calls, list) else [calls]
    return "I call it.\n" + "\n".join(f"<tool_call>\n{json.dumps(one)}\n</tool_call>" for one in listed)


def drop_answer(doc: dict[str, Any]) -> str:
    answer = doc["answer"]
    return answer["number"] or " ".join(answer["spans"]) or " ".join(filter(None, answer["date"].values()))


def answers(task: str, doc: dict[str, Any]) -> tuple[Any, Any]:
    """One that is right and one that is wrong."""
    match task:
        case "gsm8k":
            return f"Let us see. The result is {doc['answer'].rpartition('#### ')[2]}", "It may be 999999"
        case "paper_math401":
            return f"The result is {doc['response']}.", "-123456"
        case "paper_math23k":
            return (
                f"先算一步，再算一步。\n答案：{doc['ans'].replace('2(1/4)', '2又1/4').replace('(1)/(2)', '1/2')}",
                "答案：-77",
            )
        case "paper_ifeval":
            return RIGHT_INSTRUCTIONS[doc["key"] - 1], "Flour, and COMMAS, here."
        case "paper_coqa":
            return f"{doc['answers']['input_text'][-1]}\n", "zebra"
        case "drop":
            return drop_answer(doc), "zebra"
        case "paper_mmlu":
            return doc["answer"], (doc["answer"] + 1) % 4
        case "paper_functions":
            return tagged(json.loads(doc["completion"])), '<tool_call>{"name": "none", "arguments": {}}</tool_call>'
        case "paper_translation":
            return doc["reference"], "###"
        case "paper_language":
            return IN_LANGUAGE[doc["language"]], IN_LANGUAGE["ru" if doc["language"] != "ru" else "en"]
    raise KeyError(task)


def score(task: Any, doc: dict[str, Any], answer: Any) -> float:
    """What the task gives for an answer, its filters applied as lm-eval applies them."""
    from lm_eval.api.instance import Instance

    from omsweep.evaluation.tasks import item_score

    name = task.config.task
    if task.OUTPUT_TYPE == "multiple_choice":
        results = [(0.0 if n == answer else -9.0, False) for n in range(len(task.doc_to_choice(doc)))]
    else:
        asked = Instance("generate_until", doc, ("", {}), 0, metadata=(name, 0, 1))
        asked.resps = [answer]
        wanted = (task.config.metadata or {}).get("filter")
        chosen = next(one for one in task._filters if wanted in (None, one.name))
        chosen.apply([asked])
        results = [asked.filtered_resps[chosen.name]]
    metrics = task.process_results(doc, results)
    return item_score(task, name, {**metrics, "metrics": list(metrics)})


def scores() -> Iterator[tuple[str, list[float], list[float]]]:
    """By task without code: scores of right answers and of wrong ones."""
    from omsweep.evaluation.data import declared
    from omsweep.evaluation.settings import TAX_SUITES, EvaluateSettings
    from omsweep.evaluation.suite import load_suite

    every = declared(TAX_SUITES["paper"]).items()
    tasks = [name for name, metadata in every if not metadata.get("executes")]
    suite = load_suite(EvaluateSettings(tax="paper", data_root="samples", tasks=tasks).suite)
    for name, task in suite.tasks.items():
        docs = list(task.eval_docs)
        both = [answers(name, doc) for doc in docs]
        yield name, *([score(task, doc, pair[which]) for doc, pair in zip(docs, both, strict=True)] for which in (0, 1))


if __name__ == "__main__":
    sys.stdout.write(json.dumps({name: (right, wrong) for name, right, wrong in scores()}))
