"""The table of the seven exactly gradable skills, one file each."""

from omsweep.worlds.tiny.exercise import Skill
from omsweep.worlds.tiny.skills.agent import AGENT
from omsweep.worlds.tiny.skills.code import CODE
from omsweep.worlds.tiny.skills.code_switching import CODE_SWITCHING
from omsweep.worlds.tiny.skills.instruction_following import INSTRUCTION_FOLLOWING
from omsweep.worlds.tiny.skills.knowledge import KNOWLEDGE
from omsweep.worlds.tiny.skills.math import MATH
from omsweep.worlds.tiny.skills.reading_comprehension import READING_COMPREHENSION

SKILLS: dict[str, Skill] = {
    skill.name: skill
    for skill in (
        MATH,
        CODE,
        INSTRUCTION_FOLLOWING,
        READING_COMPREHENSION,
        KNOWLEDGE,
        AGENT,
        CODE_SWITCHING,
    )
}
