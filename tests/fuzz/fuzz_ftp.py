"""See `tests.fuzz.harness`; the target is `tests.fuzz.laws.ftp_target`."""

from tests.fuzz.harness import fuzz

if __name__ == "__main__":
    fuzz("ftp")
