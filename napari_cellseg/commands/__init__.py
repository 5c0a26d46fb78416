"""The subcommands of ``napari-cellseg``, one module each: ``add_parser`` declares the options, ``run`` runs it.

At module level they import only what `argparse` needs, so that ``--help`` appears immediately.
"""
