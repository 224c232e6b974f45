"""What may never answer, such as a dead server or a file system that is gone, given so many seconds."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


def within(seconds: float, act: Callable[[], Result]) -> Result:
    """What `act` returns or raises; where it does neither in time it is left behind, in a thread that ends with us.

    Raises:
        TimeoutError: it has not answered.
    """
    answer: Future[Result] = Future()

    def run() -> None:
        try:
            answer.set_result(act())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=run, name="deadline", daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        if answer.done():
            raise
        raise TimeoutError(f"no answer within {seconds:.0f} s") from None
