"""Another viewer without a window: ``python folder_holder.py FOLDER``; it executes the lines of its input.

``accept ID``, ``save``, ``check`` (look whether the lock is still ours) and ``close``; each is answered with a line of
JSON: why edits are refused, how many edits are not saved, and the error of the command.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from review_actions import CLASSES, SIZE

from napari_cellseg.errors import CellSegError
from napari_cellseg.workspace import Sessions


def main(folder: Path) -> None:
    sessions = Sessions.of_folder(folder, user="ana")
    session = sessions.open_session("a", SIZE, CLASSES)
    answer(sessions, "")
    for line in sys.stdin:
        command, *ids = line.split()
        error = ""
        try:
            if command == "accept":
                session.accept([int(ids[0])])
            elif command == "reject":
                session.reject([int(ids[0])])
            elif command == "save":
                sessions.save("a")
            elif command == "check":
                wait_for_the_check(sessions)
            elif command == "flush":
                sessions._writer.flush()
        except CellSegError as refused:
            error = str(refused)
        answer(sessions, error)
        if command == "close":
            break
    sessions.close()


def wait_for_the_check(sessions: Sessions) -> None:
    """Check the lock until the thread has read it."""
    sessions.check_lock()
    while sessions._right._watch is not None and sessions._right._watch._answers.empty():
        time.sleep(0.005)
    sessions.check_lock()


def answer(sessions: Sessions, error: str) -> None:
    facts = {"read_only": sessions.read_only, "unsaved": sessions.unsaved_edits("a"), "error": error}
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
