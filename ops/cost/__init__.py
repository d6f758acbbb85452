"""What a stage costs: counted units, times a table of unit prices, in dollars by service.

`prices.py` reads the table and multiplies; `load.py` says how many units a load takes, from measured ones;
docs/cost.md explains both.
"""
