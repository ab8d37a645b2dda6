"""Taking files away from under a running program."""

import shutil


def take_away(folder, patience=100):
    """Delete everything in a folder, also what is written there meanwhile."""
    for path in folder.iterdir():
        for left in reversed(range(patience)):
            try:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
                break
            except OSError:  # somebody put a file there after its folder was listed, or was faster
                if not left:
                    raise
