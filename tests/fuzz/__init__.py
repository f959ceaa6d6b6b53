"""Malformed requests in great numbers: none may fail the server, harm what is stored, or be answered out of form.

Every request follows from its face, a seed and its number, so that a failing one can be made again. What failed once,
here or elsewhere, is kept by its name in `seeds/named.json`.
"""
