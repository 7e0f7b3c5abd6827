"""Does an attention layer help? Paired runs of vision networks with and without it, and verdicts that stand up to a statistician

Modules:

- `simpleattn.engines`: How runs are executed: one after another here, in worker processes, or on a Ray cluster"""

import warnings

__version__ = "0.2.0"

warnings.filterwarnings('ignore', message='`torch.jit.script` is deprecated', category=FutureWarning) # fastai calls it as it is imported
