"""`python -m app`: the command line."""

import sys


def main() -> None:
    """Run the CLI, or say in one sentence that the environment is incomplete."""
    try:
        from app.cli import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in {"app", "indexer", "retriever", "generator", "eval"}:
            raise
        sys.stderr.write(
            f"The environment lacks {error.name}: Python {sys.version_info.major}.{sys.version_info.minor} "
            f"at {sys.prefix} is incomplete.\nRemove that folder and start ./footnote again; it is installed anew.\n"
        )
        sys.exit(1)
    run()


if __name__ == "__main__":
    main()
