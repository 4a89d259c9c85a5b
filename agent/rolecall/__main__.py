"""The command line: turns faults into words and exit codes."""

import sys

RUNS = ("boot", "refresh", "rollback", "drain")  # their exit code says how the machine is, whoever reads the answer


def main() -> int:
    """`rolecall`: the exit code of the command. A machine that lacks memory or the like is told so in words."""
    try:
        return answer()
    except (MemoryError, ImportError, OSError, RuntimeError) as error:
        from rolecall.errors import HostFault, fault_of, machine_error

        if machine_error(error) is None:
            raise
        fault = fault_of(error, f"this machine cannot go on: {str(error) or 'no memory is left'}", "", HostFault)
    print(f"rolecall: {fault.message}\n  hint: {fault.hint}", file=sys.stderr)
    return fault.exit_code


def answer() -> int:
    """Find out and print what was asked; the exit code of that."""
    # The common case, every minute on every machine: asked before anything is imported.
    if sys.argv[1:2] == ["refresh"] and nothing_to_do(sys.argv[2:]):
        return 0
    from rolecall.cli import streams
    from rolecall.cli.dispatch import dispatch, show_fault
    from rolecall.cli.parser import parser
    from rolecall.errors import Fault, Stopped

    streams.protect()
    arguments = parser().parse_args()
    try:
        code = dispatch(arguments)
    except (Fault, Stopped) as error:
        fault = error.fault if isinstance(error, Stopped) else error
        return show_fault(fault, as_json=getattr(arguments, "json", False))
    except KeyboardInterrupt:
        return 130
    if code == 0 and arguments.command not in RUNS and (loss := streams.lost_answer()):
        print(f"rolecall: the answer could not be written: {loss.strerror}", file=sys.stderr)
        return 1
    return code


def nothing_to_do(arguments: list[str]) -> bool:
    """Whether `refresh` with these arguments has nothing to do; anything unusual is left to the run itself."""
    config = "/etc/rolecall/agent.toml"
    if len(arguments) == 2 and arguments[0] == "--config":
        config = arguments[1]
    elif arguments:
        return False
    from rolecall.shortcut import stamps

    return stamps.holds(config)


if __name__ == "__main__":
    sys.exit(main())
