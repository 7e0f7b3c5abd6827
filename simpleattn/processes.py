"""What processes need of each other.

Plain Python, tested by tests/test_engines.py."""
import os,sys,threading,types
from contextlib import contextmanager

__all__ = ['die_with', 'ends_silently', 'no_main']

@contextmanager
def no_main():
    "multiprocessing would import the user's script again in every worker; a task carries all that a worker needs, so main is hidden"
    main,sys.modules['__main__'] = sys.modules['__main__'],types.ModuleType('__main__')
    try: yield
    finally: sys.modules['__main__'] = main

def die_with(sentinel):
    "End this process as soon as another one is gone"
    from multiprocessing.connection import wait
    def f(): wait([sentinel]); os._exit(1)
    threading.Thread(target=f, daemon=True).start()

def ends_silently():
    "For a fork server: a driver that is stopped while it asks for a worker ends it with an EOFError, which is no news for the terminal"
    hook = sys.excepthook
    sys.excepthook = lambda kind,*args: None if kind is EOFError else hook(kind, *args)
