"""Does an attention layer help? Paired trainings with and without it, and an answer with an interval and a stated error rate

Modules:

- `simpleattn.engines`: How runs are executed: one after another here, in worker processes, or on a Ray cluster"""

import warnings

__version__ = "0.2.0"

warnings.filterwarnings('ignore', message='`torch.jit.script` is deprecated', category=FutureWarning) # fastai calls it as it is imported
