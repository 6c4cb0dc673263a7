"""A benchmark for music reward models: how well do their scores agree with people?"""

__version__ = "0.1.0"
