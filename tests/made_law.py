"""A law of small models, made up: what a fit must find, and what a search can be tried with."""

import dataclasses

from mmoe_embed.design.law import PAPER, Range

LAW = dataclasses.replace(
    PAPER,
    name="made up",
    A=0.6,
    delta=-0.1,
    alpha=-0.25,
    gamma=0.02,
    B=0.9,
    omega=0.05,
    beta=-0.4,
    zeta=-0.02,
    c=1.8,
    eta=-0.03,
    sigma=-0.05,
    unit=1e6,
    fitted=Range((5e4, 1e6), (2e5, 2e6), (1, 32), (1, 8)),
)
