"""What chat templates of families that are here do with local files of records. Torch-free."""

from omsweep.align.template import check_renderable
from omsweep.commands.check.records import local_records
from omsweep.families.chat_template import check_answer_ends, template_at_hand
from omsweep.space.data_sources import algorithms_by_source
from omsweep.space.knobs import SpaceError
from omsweep.space.search_space import SearchSpace


def check_templates(space: SearchSpace) -> None:
    """Whether templates end an answer and render what is trained with them, as far as files here say; SpaceError."""
    sources = [source for source, _ in algorithms_by_source(space.preferences, space.shared, space.branches)]
    for index, family in enumerate(space.families):
        try:
            template = template_at_hand(family)
            if template is not None and any(source.rendering == "chat" for source in sources):
                check_answer_ends(template, family.name)
        except ValueError as error:
            raise SpaceError(f"families.{index}", str(error)) from None
        if template is None:
            continue
        for key, source, _, looked in local_records(space):
            name = looked.summary.source
            try:
                check_renderable(looked.kinds, template, source=name, family=family.name, rendering=source.rendering)
            except ValueError as error:
                raise SpaceError(key, str(error)) from None
