"""python -m mmoe_embed: the command, as torchrun wants it."""

from mmoe_embed.cli import main

if __name__ == "__main__":
    main()
