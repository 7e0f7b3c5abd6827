"Imported once by the fork server, so that every worker starts with it: threads, and the commit as it is before the first run"
import warnings
warnings.filterwarnings('ignore', category=FutureWarning, module='torch')
import torch
from simpleattn.runs import code_commit

torch.set_num_threads(1)
code_commit()
