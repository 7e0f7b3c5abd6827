"""What processes need of each other, and one run that several of them train together.

Plain Python, tested by tests/test_engines.py and tests/test_distributed.py."""
import math,os,sys,tempfile,threading,types
from contextlib import contextmanager

__all__ = ['die_with', 'ends_silently', 'no_main', 'share', 'together']

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

def share(
    learn,    # A `Learner` over `CroppedDL`s, in each of the processes
    cuda:bool # On GPUs; batch norm is then synchronised
):
    "fastai's distributed trainer, where each process draws the run's own order of images, and validates on all of them"
    from fastai.distributed import DistributedDL,DistributedTrainer
    class SharedDL(DistributedDL):
        epoch = property(lambda self: self.dl.epoch, lambda self,e: setattr(self.dl, 'epoch', e))
        def _broadcast(self, t, rank): return t
        def __len__(self): return math.ceil(len(self.dataset)/self.world_size)//self.dl.bs
    class Shared(DistributedTrainer):
        def _wrap_dl(self, dl): return dl if isinstance(dl, SharedDL) or not dl.shuffle else SharedDL(dl, device=self.learn.model.device)
        def before_validate(self): pass
    learn.add_cb(Shared(sync_bn=cuda, cpu=not cuda))

def _rank(rank, payload, n, file, cuda):
    "Body of one of a run's further processes"
    import cloudpickle
    from multiprocessing import parent_process
    die_with(parent_process().sentinel)
    with _group(rank, n, file, cuda):
        f,kwargs = cloudpickle.loads(payload)
        f(**kwargs, gpus=n)

@contextmanager
def _group(rank, n, file, cuda):
    "This process as one of `n`, which find each other by a file and speak over loopback"
    import torch,torch.distributed as dist
    from accelerate.state import AcceleratorState
    env = dict(WORLD_SIZE=n, RANK=rank, LOCAL_RANK=rank, MASTER_ADDR='127.0.0.1', MASTER_PORT=0, GLOO_SOCKET_IFNAME='lo', NCCL_SOCKET_IFNAME='lo')
    os.environ.update({k:str(v) for k,v in env.items()})
    try:
        if cuda: torch.cuda.set_device(rank)
        dist.init_process_group('nccl' if cuda else 'gloo', init_method=f'file://{file}', rank=rank, world_size=n)
        yield
    finally:
        if dist.is_initialized(): dist.destroy_process_group()
        AcceleratorState._reset_state(True)
        for k in env: os.environ.pop(k, None)

@contextmanager
def together(
    n:int,     # Processes of the run
    cuda:bool, # On GPUs
    f,         # What each further process calls, with `gpus=n`
    **kwargs   # Its arguments
):
    "The further processes of a run, and this one as their first"
    from simpleattn.recipes import CliError
    try: import accelerate
    except ImportError: raise CliError("Several GPUs for one run need accelerate: pip install 'simpleattn[distributed]'.") from None
    import cloudpickle,multiprocessing as mp,torch
    from simpleattn.variants import ship
    if cuda and torch.cuda.device_count()<n: raise CliError(f"gpus_per_run = {n}, and there are {torch.cuda.device_count()} GPUs here.")
    ship(kwargs['variant'])
    # a worker is as its server made it, so its children may be forked
    ctx = mp.get_context('fork' if mp.parent_process() and not torch.cuda.is_initialized() else 'spawn')
    with tempfile.TemporaryDirectory() as d:
        file = f'{d}/group'
        ps = [ctx.Process(target=_rank, args=(k, cloudpickle.dumps((f, kwargs)), n, file, cuda)) for k in range(1, n)]
        with no_main():
            for p in ps: p.start()
        over = threading.Event()
        def watch(): # where one of them died this one may wait for it for ever, or have an error of its own to tell
            mp.connection.wait([p.sentinel for p in ps])
            if any(p.exitcode for p in ps) and mp.parent_process() and not over.wait(20): os._exit(1)
        threading.Thread(target=watch, daemon=True).start()
        try:
            with _group(0, n, file, cuda): yield
            for p in ps: p.join(60)
        finally:
            over.set()
            for p in ps: p.kill(); p.join()
