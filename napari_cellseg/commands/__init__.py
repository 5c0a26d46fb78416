"""The subcommands of ``napari-cellseg``, a module each: ``add_parser`` says what it takes, ``run`` does it.

Their modules import at the top only what `argparse` needs, so that ``--help`` is there at once.
"""
