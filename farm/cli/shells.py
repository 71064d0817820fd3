"""What click leaves out of its completion: values after ``--option=``, and commas in fish. Loaded when a shell asks."""

from __future__ import annotations

from itertools import pairwise

from click.shell_completion import BashComplete, CompletionItem, FishComplete, ZshComplete, add_completion_class


class _Bash(BashComplete):
    """bash takes ``--option=value`` for three words; the second says nothing."""

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        kept = [word for before, word in pairwise(["", *args]) if not (word == "=" and before.startswith("--"))]
        return kept, incomplete


def _with_option(incomplete: str, items: list[CompletionItem[str]]) -> list[CompletionItem[str]]:
    """The other shells replace the whole word, so what takes its place names the option again."""
    option, equals, _ = incomplete.partition("=")
    if equals and option.startswith("--"):
        for item in items:
            item.value = f"{option}={item.value}" if item.type == "plain" else item.value
    return items


class _Zsh(ZshComplete):
    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        return _with_option(incomplete, super().get_completions(args, incomplete))


class _Fish(FishComplete):
    source_template = FishComplete.source_template.replace('string split ","', 'string split --max 1 ","')

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        return _with_option(incomplete, super().get_completions(args, incomplete))


def register() -> None:
    """Give click these in the place of its own."""
    for shell in (_Bash, _Zsh, _Fish):
        add_completion_class(shell)
