"""The table of the seven exactly gradable skills, one file each."""

from omsweep.tinyworld.exercise import Skill
from omsweep.tinyworld.skills.agent import AGENT
from omsweep.tinyworld.skills.code import CODE
from omsweep.tinyworld.skills.code_switching import CODE_SWITCHING
from omsweep.tinyworld.skills.instruction_following import INSTRUCTION_FOLLOWING
from omsweep.tinyworld.skills.knowledge import KNOWLEDGE
from omsweep.tinyworld.skills.math import MATH
from omsweep.tinyworld.skills.reading_comprehension import READING_COMPREHENSION

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
