"""What the commands take, for the tests that compare documents with it."""

from mountdl.control import parser


def known() -> set[str]:
    """Return each long option that a command takes, without its dashes."""
    words = (word for command in parser.build()[1].values() for word in command._option_string_actions)
    return {word[2:] for word in words if word.startswith("--")}
