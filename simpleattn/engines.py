"""How runs are executed: one after another here, in worker processes, or on a Ray cluster

Plain Python, tested by tests/test_engines.py and tests/test_ray.py. An engine has three methods: `submit(task)`, `next()` -> a finished `Outcome`, and
`close()`; `workers`, the runs that it makes at a time; and maybe something to say in the end, `said`. The study decides what to run and what to try again;
an engine only runs. Torch and fastai are imported in workers, never here."""
import math,os,re,signal,subprocess,sys,tempfile,time,traceback,types
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from .processes import die_with,no_main
from .recipes import CliError,near

__all__ = ['Task', 'Outcome', 'SerialEngine', 'LocalEngine', 'RayEngine', 'make_engine']

@dataclass(frozen=True)
class Task:
    "One run to make"
    recipe:object        # `Recipe`
    variant:object       # `Variant`
    seed:int             # The run's seed
    root:str             # Absolute folder of the runs, or its URL; the worker writes the record itself
    data:str=None        # Folder or archive of the data set
    device:str=None      # None: the GPU if there is one
    threads:int=1        # CPU threads
    workers:int=0        # Loader processes
    checkpoints:str=None # Folder of checkpoints; None: none are written
    gpus:int=1           # Processes that train it together, each on a GPU of its own
    @property
    def arm(self): return self.recipe.hash, self.variant.hash

@dataclass(frozen=True)
class Outcome:
    "What became of a task"
    task:Task
    status:str          # ok, diverged; failed: it raised; lost: its process died; refused: a user's mistake; exists, claimed: another process has it
    acc:float=None      # Last-epoch accuracy, a fraction
    seconds:float=0.    # Wall time of the run
    error:str=''        # What went wrong, with the end of the log
    env:str=None        # Class of machine that the run was made on

def run_task(
    task:Task # The run to make
)->Outcome:   # Its outcome; the record is written
    "Train one run and publish its record, unless another process has it or is at it"
    from simpleattn.runs import as_root,claim,run_path,this_env
    from simpleattn.train import train_one
    t0,at = time.perf_counter(),'.'
    try:
        at = run_path(task.recipe.name, task.variant.name, this_env(task.device, task.gpus), task.seed)
        with claim(task.root, at) as ours:
            if not ours: return Outcome(task, 'claimed')
            run = train_one(task.recipe, task.variant, task.seed, task.data, task.workers, task.device, task.threads, root=task.root,
                checkpoints=task.checkpoints, gpus=task.gpus)
    except CliError as e: return Outcome(task, 'refused', error=str(e))
    except Exception as e:
        there = isinstance(e, FileExistsError) and (as_root(task.root)/at).exists()
        return Outcome(task, 'exists') if there else Outcome(task, 'failed', error=traceback.format_exc())
    return Outcome(task, run.status, run.acc, time.perf_counter()-t0, env=run.env)

def packed(task):
    "A task as bytes, with the classes that a worker could not import"
    import cloudpickle
    from simpleattn.variants import ship
    ship(task.variant)
    return cloudpickle.dumps(task)

def run_packed(payload):
    "`run_task` of such bytes, as plain values"
    import cloudpickle
    try: out = run_task(cloudpickle.loads(payload))
    except BaseException: out = Outcome(None, 'failed', error=traceback.format_exc())
    return out.status, out.acc, out.seconds, out.error, out.env

class SerialEngine:
    "Runs in this process, one after another"
    workers = 1
    def __init__(self, **kwargs): self.tasks = deque()
    def submit(self, task): self.tasks.append(task)
    def next(self): return run_task(self.tasks.popleft())
    def close(self): self.tasks.clear()

@contextmanager
def _unheard():
    "A process that is started here inherits that it does not hear Ctrl-C; this one hears it a moment later"
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try: yield
    finally: signal.pthread_sigmask(signal.SIG_SETMASK, old)

def _worker(conn, log, gpus):
    "Body of a worker process: tasks until the pipe is closed, their output in a file"
    from multiprocessing import parent_process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with(parent_process().sentinel)
    if gpus: os.environ['CUDA_VISIBLE_DEVICES'] = gpus
    try:
        with open(log, 'ab', 0) as f: os.dup2(f.fileno(), 1); os.dup2(f.fileno(), 2)
    except FileNotFoundError: return # the driver was stopped meanwhile, and its folder is gone
    while True:
        try: payload = conn.recv_bytes()
        except EOFError: return
        conn.send(run_packed(payload))

class AtOnce:
    """How many runs at once a GPU should make: one more, up to four, for as long as that makes over 5 % more runs an hour and the memory holds them.
    What decides are the seconds of runs that began and ended while just so many were at work, none a worker's first, compared within their arms."""
    def __init__(self, gpus, most=4): self.gpus,self.most,self.n,self.settled,self.said,self.seconds = gpus,most,1,False,'',{}

    def settle(self, n, why):
        self.n,self.settled = n,True
        self.said = f'Runs at once on a GPU: {n}; {why}. Their seconds are those of up to {max(self.seconds, default=1)} at once.' if why else ''

    def saw(self, gpu, arm, seconds):
        "Such a run has ended"
        here,less = self.seconds.setdefault(self.n, {}),self.seconds.get(self.n-1)
        here.setdefault(arm, []).append(seconds)
        both = here.keys() & less.keys() if less else here.keys()
        if self.settled or sum(len(here[a]) for a in both)<2*self.n*self.gpus: return
        gain = less and self.n/(self.n-1)*median(median(less[a])/median(here[a]) for a in both)
        if less and gain<=1.05: self.settle(self.n-1, f'{self.n} make {gain:.2f} times the runs an hour')
        elif self.n==self.most or not _fits(gpu, self.n): self.settle(self.n, less and f'{gain:.2f} times the runs an hour of {self.n-1}')
        else: self.n += 1

def _fits(gpu, n):
    "Does a GPU's memory, with `n` workers in it, hold one more like them and a tenth beyond? No where nothing tells"
    from simpleattn.runs import _lines,_nvidia
    for o in _nvidia('index,uuid,memory.used,memory.total', _lines.__wrapped__): # as it is now
        mib = [int(m) for m in re.findall(r'(\d+) MiB', o)]
        if gpu in o.split(', ')[:2] and len(mib)==2: return mib[0]*(n+1)/n <= .9*mib[1]
    return False

class LocalEngine:
    """Worker processes forked from a server that has imported fastai once; a process that dies costs its own run only. On a CPU a process makes one run.
    On GPUs it stays for the seeds of its arm, workers take the devices in turn, and `AtOnce` says how many there are."""
    preload = ['simpleattn.preload']
    said = property(lambda self: self.choice.said if self.choice else '') # what was found out on the way, for the user
    def __init__(self,
        workers:int=None, # Processes; None: one a core, or on GPUs as many as give the most runs an hour
        gpus:list=None,   # Devices, as CUDA_VISIBLE_DEVICES takes them; None: a CPU
        per_run=1,        # GPUs of a run, whole or a fraction
        keep:bool=None,   # Workers stay for their arm; None: on GPUs
        **kwargs
    ):
        import multiprocessing as mp
        cores = len(os.sched_getaffinity(0)) if hasattr(os,'sched_getaffinity') else os.cpu_count()
        k = max(1, int(per_run))
        if gpus and k>len(gpus): raise CliError(f"gpus_per_run = {per_run}: {len(gpus)} GPU{'s'*(len(gpus)>1)} here, give at most so many.")
        groups = [','.join(gpus[i:i+k]) for i in range(0, len(gpus)-k+1, k)] if gpus else [None]
        self.workers = workers or max(1, (int(len(groups)/min(per_run,1)) if gpus else cores))
        self.groups,self.slots = groups,deque(groups[i%len(groups)] for i in range(self.workers))
        self.keep = bool(gpus) and per_run<=1 if keep is None else keep
        self.choice = AtOnce(len(groups), min(4, max(1, cores//len(groups)))) if gpus and not workers and per_run==1 and self.keep else None
        self.ctx,self.tasks,self.running,self.idle = mp.get_context('forkserver'),deque(),[],[]
        self.logs = tempfile.TemporaryDirectory(prefix='simpleattn-')
        self.ctx.set_forkserver_preload(self.preload)

    def submit(self, task): self.tasks.append(task)

    def _start(self, slot):
        "A new worker, known before it starts: whatever interrupts this, it ends with its pipe"
        conn,theirs = self.ctx.Pipe()
        self.slots.remove(slot)
        w = types.SimpleNamespace(conn=conn, log=Path(self.logs.name)/f'{time.monotonic_ns()}.log', slot=slot, task=None, process=None, done=0)
        self.running.append(w)
        for k in range(3):
            try: w.process = self._forked(theirs, str(w.log), w.slot); break
            except (EOFError, OSError):
                if k==2: raise
                time.sleep(.2) # the server was killed at this moment; the next try starts another
        theirs.close()
        return w

    def _forked(self, *args):
        from multiprocessing import forkserver,resource_tracker
        p = self.ctx.Process(target=_worker, args=args)
        resource_tracker.ensure_running() # would end the mask
        with no_main():
            with _unheard(): forkserver.ensure_running()
            p.start()
        return p

    def _give(self, w, task):
        self.tasks.remove(task)
        w.task,w.calm,w.beside = task,True,self.workers//len(self.groups)
        if w.log.is_file(): os.truncate(w.log, 0)
        try: w.conn.send_bytes(packed(task))
        except (BrokenPipeError, ConnectionResetError): pass # it died: `next` sees that

    def _end(self, w):
        "Let a worker go: its pipe is closed, so it ends by itself"
        w.conn.close()
        w.process.join()
        self.slots.append(w.slot)

    def _fill(self):
        "Work for every place, on the device that has the least; there a worker that stays goes on with its arm, or else makes way for a new one"
        def on(slot): return sum(w.slot==slot for w in self.running)
        while self.tasks and (places := [w.slot for w in self.idle]+[*self.slots]) and on(slot := min(places, key=on))<math.ceil(self.workers/len(self.groups)):
            here = [w for w in self.idle if w.slot==slot]
            w,task = next(((w,t) for w in here for t in self.tasks if t.arm==w.task.arm), (None,None))
            if w: self.idle.remove(w); self.running.append(w)
            else:
                for o in here: self.idle.remove(o); self._end(o)
                task,w = self._pick(),self._start(slot)
            self._give(w, task)
        if len(self.running)!=self.workers or not all(w.done for w in self.running): self._stir()

    def _pick(self):
        "A task for a new worker: of an arm that no other has; while the number at once is being found out, of one that another has and that was timed"
        at_work,joins = {w.task.arm for w in self.running if self.keep}, bool(self.choice and self.choice.n>1 and not self.choice.settled)
        return next((t for t in self.tasks if (t.arm in at_work)==joins), self.tasks[0])

    def _stir(self):
        "What is under way says nothing about the number at once: others begin or end beside it"
        for w in self.running: w.calm = False

    def _choose(self, w, status, seconds, error):
        "Have the number of workers follow from a run that has ended; is it to be made again, with fewer beside it?"
        c,full = self.choice, status=='failed' and w.beside>1 and re.search('out ?of ?memory|ALLOC_FAILED', error, re.I)
        if full and w.beside==c.n: c.settle(c.n-1, 'more do not fit into its memory')
        elif status=='ok' and w.calm: c.saw(w.slot, w.task.arm, seconds)
        if (n := c.n*len(self.groups))!=self.workers:
            self.slots.extend(self.groups*((n-self.workers)//len(self.groups)))
            self.workers = n
            while self.idle and len(self.running)+len(self.idle)>n: self._end(self.idle.pop())
            self._stir()
        return bool(full)

    def next(self):
        from multiprocessing.connection import wait
        while True:
            self._fill()
            ready = wait([w.conn for w in self.running])[0]
            w = next(o for o in self.running if o.conn is ready)
            try: out = w.conn.recv()
            except (EOFError, ConnectionResetError): out = None
            self.running.remove(w)
            if self.keep and out and out[0]!='failed': self.idle.append(w) # an error of CUDA stays with its process
            else: self._end(w)
            status,acc,seconds,error,env = out or ('lost', None, 0., f'the process ended with code {w.process.exitcode}', None)
            w.done += status in ('ok','diverged')
            if not (self.choice and self._choose(w, status, seconds, error)): break
            self.tasks.append(w.task)
        if status in ('failed','lost') and w.log.is_file(): error += '\n' + w.log.read_text(errors='replace')[-4000:]
        return Outcome(w.task, status, acc, seconds, error, env)

    def close(self):
        procs = [w.process for w in self.running+self.idle if w.process]
        for w in self.running+self.idle: w.conn.close()
        for p in procs: p.terminate()
        for p in procs: p.join(2)
        for p in procs:
            if p.is_alive(): p.kill(); p.join()
        self.running.clear(); self.idle.clear(); self.tasks.clear(); self.logs.cleanup()

class RayEngine:
    "Tasks of a Ray cluster, a window of them at a time; workers write their records to the store themselves"
    def __init__(self,
        workers:int=None, # Runs at a time; None: as many as the cluster holds
        address:str=None, # An existing cluster, such as auto or ray://host:10001; None: one on this machine, on loopback only
        gpus:list=None,   # Not None: runs are made on GPUs
        per_run=1,        # GPUs of a run, whole or a fraction
        threads:int=1,    # CPUs of a run
        **kwargs
    ):
        # Ray reads its environment when it is imported
        ours = _alone() if address is None and 'ray' not in sys.modules else dict(address='local', include_dashboard=False)
        try: import ray
        except ImportError: raise CliError("--engine ray needs Ray: pip install 'simpleattn[ray]'.") from None
        env = {k:os.environ[k] for k in ('SIMPLEATTN_DATA',) if k in os.environ} | dict(OMP_NUM_THREADS=str(threads))
        self.ray,self.mine,self.tasks,self.running = ray,not ray.is_initialized(),deque(),{}
        try:
            if self.mine: ray.init(**ours if address is None else dict(address=address), log_to_driver=False, runtime_env=dict(env_vars=env))
        except Exception as e:
            ray.shutdown()
            raise CliError(f"Ray {f'at {address}' if address else 'here'} did not answer: {(str(e).strip() or repr(e)).splitlines()[0]}") from e
        self.need = dict(num_cpus=threads, **(dict(num_gpus=per_run) if gpus is not None else {}))
        self.remote = ray.remote(**self.need, max_retries=0, max_calls=0, scheduling_strategy='SPREAD')(run_packed)
        self.limit = workers

    def submit(self, task): self.tasks.append(task)

    @property
    def workers(self):
        "Runs that are asked for at a time, or that the cluster can hold at this moment"
        have = self.ray.cluster_resources()
        n = min(have.get(k, 0)/v for k,v in (('CPU',self.need['num_cpus']), ('GPU',self.need.get('num_gpus', 0))) if v)
        return self.limit or max(1, int(n))

    def next(self):
        while True:
            while self.tasks and len(self.running)<(self.limit or self.workers*9/8): # one of eight more waits at the nodes
                task = self.tasks.popleft()
                self.running[self.remote.remote(packed(task))] = task
            done,_ = self.ray.wait(list(self.running), timeout=5)
            if done: break
        task = self.running.pop(done[0])
        try: status,acc,seconds,error,env = self.ray.get(done[0])
        except self.ray.exceptions.RayError as e: return Outcome(task, 'lost', error=f'{type(e).__name__}: {e}'.strip()[-4000:])
        return Outcome(task, status, acc, seconds, error, env)

    def close(self):
        for o in self.running: self.ray.cancel(o, force=True)
        self.running.clear(); self.tasks.clear()
        if self.mine: self.ray.shutdown(); self.mine = False

def _alone():
    "A Ray of our own: on loopback only, without dashboard and usage statistics"
    os.environ.update(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER='0', RAY_USAGE_STATS_ENABLED='0', RAY_DISABLE_IMPORT_WARNING='1', RAY_worker_niceness='0')
    os.environ.setdefault('RAY_raylet_start_wait_time_s', '180')
    # a node gives its agent 15 s to come up, which the first import after an installation exceeds
    subprocess.run([sys.executable, '-c', 'from ray.dashboard.utils import *; get_all_modules(DashboardAgentModule)'], capture_output=True)
    return dict(address='local', include_dashboard=False, _node_ip_address='127.0.0.1')

engines = dict(serial=SerialEngine, local=LocalEngine, ray=RayEngine)

def make_engine(
    name:str,  # serial, local, ray
    **kwargs   # Of the engine, such as workers
):
    "An engine by its name"
    if (n := kwargs.get('workers')) is not None and n<1: raise CliError(f"workers = {n}: give at least 1.")
    if name not in engines: raise CliError(f"No engine {name!r}. {near(name, engines)}")
    return engines[name](**kwargs)
