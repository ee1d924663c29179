"""``waterbg completion``: what bash and fish need to complete commands, options and their values."""

from __future__ import annotations

import waterbg
from waterbg.cli.base import Command
from waterbg.cli.catalogue import Entry, Option, entries
from waterbg.errors import UsageError

_FOLDERS = ("DIR",)
_BASH_HEAD = """\
# Completion of waterbg {version} for bash: eval "$(waterbg completion bash)"
_waterbg() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} option=${{COMP_WORDS[COMP_CWORD-1]}} command= words= at i
    COMPREPLY=()
    # bash takes --option=value apart into three words
    if [ "$cur" = = ]; then cur=
    elif [ "$option" = = ]; then option=${{COMP_WORDS[COMP_CWORD-2]}}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in -*) ;; *) command=${{COMP_WORDS[i]}}; at=$i; break ;; esac
    done
    case "$command $option" in
"""
_BASH_TAIL = """\
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _waterbg waterbg
"""


class Completion(Command):
    """Print what a shell needs to complete waterbg's commands and options: waterbg completion bash|fish

    For bash, put this line into ~/.bashrc: eval "$(waterbg completion bash)". For fish, once: waterbg completion fish >
    ~/.config/fish/completions/waterbg.fish
    """

    def main(self, shell: str) -> int:
        """Print the script."""
        if shell not in _SHELLS:
            raise UsageError(f"completion {shell}: there is completion for {' and '.join(_SHELLS)}")
        print(_SHELLS[shell](entries()), end="")
        return 0


def bash(commands: list[Entry]) -> str:
    """Script for bash 3.2 or newer."""
    lines = [_BASH_HEAD.format(version=waterbg.__version__).rstrip()]
    actions: dict[str, list[str]] = {}
    for command in commands:
        for option in command.options:
            if option.value:
                actions.setdefault(_bash_values(option), []).extend(f"{command.name} {name}" for name in option.names)
    lines += ["        {}) {} ;;".format("|".join(f'"{one}"' for one in which), do) for do, which in actions.items()]
    lines += ["    esac", '    case "$command" in']
    names = " ".join(command.name for command in commands)
    lines.append(f'        "") words="{names} --help --version" ;;')
    for command in commands:
        options = " ".join(name for option in command.options for name in option.names)
        words = " ".join(command.words)
        first = f'[ $((at + 1)) = "$COMP_CWORD" ] && words="{words}" || return' if words else "return"
        lines.append(f'        {command.name}) case $cur in -*) words="{options}" ;; *) {first} ;; esac ;;')
    return "\n".join(lines) + "\n" + _BASH_TAIL


def _bash_values(option: Option) -> str:
    if option.choices:
        return f'COMPREPLY=($(compgen -W "{" ".join(option.choices)}" -- "$cur")); return'
    if option.value in _FOLDERS:
        return 'COMPREPLY=($(compgen -d -- "$cur")); return'
    return "return"  # a file, or what cannot be listed


def fish(commands: list[Entry]) -> str:
    """Script for fish 3 or newer."""
    lines = [
        f"# Completion of waterbg {waterbg.__version__} for fish",
        "complete -c waterbg -n __fish_use_subcommand -f",
    ]
    first = [(f"-a {command.name}", command.summary) for command in commands]
    first += [("-l help", "Prints this help message and quits"), ("-l version", "Prints the program's version")]
    lines += [f"complete -c waterbg -n __fish_use_subcommand {what} -d {_quoted(text)}" for what, text in first]
    for command in commands:
        seen = f"complete -c waterbg -n '__fish_seen_subcommand_from {command.name}'"
        if command.words:
            words = " ".join(command.words)
            alone = f"'__fish_seen_subcommand_from {command.name}; and not __fish_seen_subcommand_from {words}'"
            lines.append(f"complete -c waterbg -n {alone} -f -a {_quoted(words)}")
        for option in command.options:
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
            lines.append(f"{seen} {names}{_fish_values(option)} -d {_quoted(option.help)}")
    return "\n".join(lines) + "\n"


def _fish_values(option: Option) -> str:
    if option.choices:
        return f" -x -a {_quoted(' '.join(option.choices))}"
    if option.value in _FOLDERS:
        return " -x -a '(__fish_complete_directories)'"
    return " -r -F" if option.value else ""


def _quoted(text: str) -> str:
    """One word for fish."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_SHELLS = {"bash": bash, "fish": fish}
