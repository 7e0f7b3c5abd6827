"Imported once by the fork server, so that every worker starts with it: fastai, threads, and the commit as it is before the first run"
import os,signal,sys,warnings

_parent = os.getppid()
def _alone(*args):
    if os.getppid()!=_parent: os._exit(1)
signal.signal(signal.SIGALRM, _alone) # the imports take seconds, in which nobody else notices that the driver is gone
signal.setitimer(signal.ITIMER_REAL, .5, .5)

def _quiet(kind, *args):
    if kind is not EOFError: sys.__excepthook__(kind, *args)
sys.excepthook = _quiet # a driver that is stopped while it asks for a worker ends the server: that is no news for the terminal

warnings.filterwarnings('ignore', category=FutureWarning, module='torch')
import torch
import simpleattn.train,simpleattn.attention
from simpleattn.runs import code_commit

torch.set_num_threads(1)
code_commit()
signal.setitimer(signal.ITIMER_REAL, 0)
signal.signal(signal.SIGALRM, signal.SIG_DFL)
