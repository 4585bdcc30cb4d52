"""What a cold copy costs: 512 MiB from a loopback mirror, verified and stored, through a fresh mount.

    python contrib/bench/cold.py [--mib 512] [--rounds 5]

MB/s of a reader with a buffer of 1 MiB, and processor seconds a GB of the mount's process alone.
"""

import argparse
import tempfile
from pathlib import Path

import lab
import ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"cold copy of {options.mib} MiB ({lab.machine()})")
    rates, program, kernel, peaks = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "www").mkdir()
        path = lab.random_file(home / "www" / "big.bin", options.mib)
        with lab.mirror(home / "www", home / "nginx") as address:
            lab.metalink(home / "source", path, [f"{address}/big.bin"])
            for number in range(options.rounds):
                with lab.mounted(home / "source", home / f"cache{number}") as mount:
                    before = mount.cpu()
                    rates.append(lab.sequential(mount.path / "big.bin") / 1e6)
                    after, size = mount.cpu(), path.stat().st_size / 1e9
                    program.append((after[0] - before[0]) / size)
                    kernel.append((after[1] - before[1]) / size)
                    peaks.append(mount.peak())
    lab.show("cold", "MB/s", rates, 0)
    lab.show("processor time, program", "s/GB", program, 2)
    lab.show("processor time, kernel", "s/GB", kernel, 2)
    both = lab.show("processor time, both", "s/GB", [a + b for a, b in zip(program, kernel, strict=True)], 2)
    peak = lab.show("peak memory", "MiB", peaks, 0)
    # What users were promised of one file and one reader: 1.6 s a GB, 120 MB.
    ratios.add("cold copy: processor time to 1.6 s a GB", both / 1.6)
    ratios.add("cold copy: memory to 120 MB", peak * lab.MIB / 120e6, most=1.0)


if __name__ == "__main__":
    main()
