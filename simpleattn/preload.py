"Imported once by the fork server, so that every worker starts with it: fastai, threads, and the commit as it is before the first run"
import os,signal
from simpleattn.engines import ends_silently

_parent = os.getppid()
def _alone(*args):
    if os.getppid()!=_parent: os._exit(1)
signal.signal(signal.SIGALRM, _alone) # the imports take seconds, in which nobody else notices that the driver is gone
signal.setitimer(signal.ITIMER_REAL, .5, .5)

ends_silently()
import torch
import simpleattn.train,simpleattn.attention
from simpleattn.runs import code_commit

torch.set_num_threads(1)
code_commit()
signal.setitimer(signal.ITIMER_REAL, 0)
signal.signal(signal.SIGALRM, signal.SIG_DFL)
