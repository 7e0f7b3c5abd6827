"""How runs are executed: one after another here, or in worker processes. Plain Python, tested by tests/test_engines.py.

An engine has three methods: `submit(task)`, `next()` -> a finished `Outcome`, and `close()`. The study decides what to run and what to try again;
an engine only runs. Torch and fastai are imported in workers, never here."""
import os,signal,sys,tempfile,threading,time,traceback,types
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ['Task', 'Outcome', 'SerialEngine', 'LocalEngine', 'make_engine']

@dataclass(frozen=True)
class Task:
    "One run to make"
    recipe:object       # `Recipe`
    variant:object      # `Variant`
    seed:int            # The run's seed
    root:str            # Absolute folder of the runs; the worker writes the record itself
    data:str=None       # Folder or archive of the data set
    device:str=None     # None: the GPU if there is one
    threads:int=1       # CPU threads
    workers:int=0       # Loader processes

@dataclass(frozen=True)
class Outcome:
    "What became of a task"
    task:Task
    status:str          # ok, diverged, exists (another process had written the record), failed (it raised), lost (its process died), refused (a user's mistake)
    acc:float=None      # Last-epoch accuracy, a fraction
    seconds:float=0.    # Wall time of the run
    error:str=''        # What went wrong, with the end of the log
    env:str=None        # Class of machine that the run was made on

def run_task(
    task:Task # The run to make
)->Outcome:   # Its outcome; the record is written
    "Train one run and publish its record"
    from simpleattn.recipes import CliError
    from simpleattn.train import train_one
    t0 = time.perf_counter()
    try: run = train_one(task.recipe, task.variant, task.seed, task.data, task.workers, task.device, task.threads, root=task.root)
    except FileExistsError: return Outcome(task, 'exists')
    except CliError as e: return Outcome(task, 'refused', error=str(e))
    except Exception: return Outcome(task, 'failed', error=traceback.format_exc())
    return Outcome(task, run.status, run.acc, time.perf_counter()-t0, env=run.env)

class SerialEngine:
    "Runs in this process, one after another"
    workers = 1
    def __init__(self, **kwargs): self.tasks = deque()
    def submit(self, task): self.tasks.append(task)
    def next(self): return run_task(self.tasks.popleft())
    def close(self): self.tasks.clear()

@contextmanager
def _unstopped():
    "Ctrl-C and SIGTERM wait until a process that was started is also known"
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT,signal.SIGTERM})
    try: yield
    finally: signal.pthread_sigmask(signal.SIG_SETMASK, old)

@contextmanager
def _no_main():
    "multiprocessing would import the user's script again in every worker; a task carries all that a worker needs, so main is hidden"
    main,sys.modules['__main__'] = sys.modules['__main__'],types.ModuleType('__main__')
    try: yield
    finally: sys.modules['__main__'] = main

def _die_with(parent):
    "End this process when its driver is gone"
    from multiprocessing.connection import wait
    wait([parent.sentinel])
    os._exit(1)

def _worker(payload, conn, log):
    "Body of a worker process: one task, its output in a file"
    import cloudpickle
    from multiprocessing import parent_process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_die_with, args=(parent_process(),), daemon=True).start()
    try:
        with open(log, 'wb', 0) as f: os.dup2(f.fileno(), 1); os.dup2(f.fileno(), 2)
        out = run_task(cloudpickle.loads(payload))
    except BaseException: out = Outcome(None, 'failed', error=traceback.format_exc())
    conn.send((out.status, out.acc, out.seconds, out.error, out.env))

class LocalEngine:
    "One process a run, forked from a server that has imported fastai once; a process that dies costs its own run only"
    preload = ['simpleattn.preload','simpleattn.train','simpleattn.attention']
    def __init__(self, workers:int=None, **kwargs):
        import multiprocessing as mp
        self.workers = workers or max(1, len(os.sched_getaffinity(0)) if hasattr(os,'sched_getaffinity') else os.cpu_count())
        self.ctx,self.tasks,self.running = mp.get_context('forkserver'),deque(),{}
        self.logs = tempfile.TemporaryDirectory(prefix='simpleattn-')
        self.ctx.set_forkserver_preload(self.preload)

    def submit(self, task): self.tasks.append(task)

    def _start(self, task):
        import cloudpickle
        from simpleattn.variants import ship
        ship(task.variant)
        from multiprocessing import forkserver
        with _no_main(): forkserver.ensure_running() # before the mask, which the server would inherit
        recv,send = self.ctx.Pipe(False)
        log = Path(self.logs.name)/f'{time.monotonic_ns()}.log'
        p = self.ctx.Process(target=_worker, args=(cloudpickle.dumps(task), send, str(log)))
        with _unstopped(), _no_main():
            p.start()
            self.running[p.sentinel] = (p, task, recv, log)
        send.close()

    def next(self):
        from multiprocessing.connection import wait
        while self.tasks and len(self.running)<self.workers: self._start(self.tasks.popleft())
        p,task,recv,log = self.running.pop(wait(list(self.running))[0])
        p.join()
        lost = 'lost', None, 0., f'the process ended with code {p.exitcode}', None
        try: status,acc,seconds,error,env = recv.recv() if recv.poll() else lost
        except EOFError: status,acc,seconds,error,env = lost
        if status in ('failed','lost') and log.is_file(): error += '\n' + log.read_text(errors='replace')[-4000:]
        recv.close()
        return Outcome(task, status, acc, seconds, error, env)

    def close(self):
        procs = [o[0] for o in self.running.values()]
        for p in procs: p.terminate()
        for p in procs: p.join(2)
        for p in procs:
            if p.is_alive(): p.kill(); p.join()
        self.running.clear(); self.tasks.clear(); self.logs.cleanup()

engines = dict(serial=SerialEngine, local=LocalEngine)

def make_engine(
    name:str,  # serial, local
    **kwargs   # Of the engine, such as workers
):
    "An engine by its name"
    from simpleattn.recipes import CliError
    if (n := kwargs.get('workers')) is not None and n<1: raise CliError(f"workers = {n}: give at least 1.")
    if name not in engines: raise CliError(f"No engine {name!r}. There are: {', '.join(engines)}.")
    return engines[name](**kwargs)
