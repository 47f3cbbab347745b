"""`python -m sshpe_lib` is the `sshpe` command, so that `torchrun -m sshpe_lib` is it in several processes."""

from sshpe_lib.cli import main

if __name__ == "__main__":
    main()
