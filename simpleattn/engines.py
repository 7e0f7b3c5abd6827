"""How runs are executed: one after another here, in worker processes, or on a Ray cluster

Plain Python, tested by tests/test_engines.py and tests/test_ray.py. An engine takes tasks and says that one has ended; what came of it stands in the store.
It has three methods, `submit(task)`, `next()` -> `Ended` and `close()`, and `workers`, the runs that it makes at a time. The study decides what to run and
what to try again. Torch and fastai are imported in workers, never here."""
import math,os,shutil,signal,socket,subprocess,sys,tempfile,threading,time,traceback,types
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass,replace
from inspect import signature
from pathlib import Path
from fastcore.basics import num_cpus
from .recipes import CliError,near

__all__ = ['Task', 'Ended', 'SerialEngine', 'LocalEngine', 'RayEngine', 'engines', 'check_engine', 'make_engine', 'said_of']

# ---- tasks

@dataclass(frozen=True)
class Task:
    "One run to make"
    arm:object      # `Arm`
    seed:int        # The run's seed
    machine:object  # `Machine`, its folders absolute
    root:str        # Absolute folder of the runs, or its URL; the worker writes the record itself
    env:str=None    # Class of machine that the run must be made on; None: any

@dataclass(frozen=True)
class Ended:
    "A task has ended"
    task:Task
    how:str='made' # made; parked: made, and its record waits in a local folder; exists, claimed: another process has it; refused: a user's mistake;
                   # elsewhere: of another env; failed: it raised; lost: its process died
    error:str=''   # What went wrong, with the end of the log
    env:str=None   # Class of the machine that is elsewhere
    why:str=''     # The same in a line: the exception, and where it was raised

def run_task(
    task:Task # The run to make
)->Ended:     # Its record is in the store where it was made
    "Train one run and publish its record, unless another process has it or is at it"
    from simpleattn.runs import Parked
    try: return _train(task)
    except Parked as e: return Ended(task, 'parked', str(e))
    except CliError as e: return Ended(task, 'refused', str(e))
    except Exception as e: return _failed(task, e)

def _failed(task, error):
    "With its traceback, and in a line"
    return Ended(task, 'failed', ''.join(traceback.format_exception(error)), why=said_of(error))

def said_of(error)->str:
    "An exception in a line, with the place that raised it"
    places = traceback.extract_tb(error.__traceback__)
    said = ' '.join(''.join(traceback.format_exception_only(error)).split())
    place = f' ({Path(places[-1].filename).name}, line {places[-1].lineno}, in {places[-1].name})' if places else ''
    return f'{said}{place}'

def _train(task):
    from simpleattn.files import is_there
    from simpleattn.runs import claim
    from simpleattn.train import train_arm
    env = task.machine.env
    if task.env not in (None, env): return Ended(task, 'elsewhere', env=env)
    path = task.arm.path(env, task.seed)
    with claim(task.root, path) as ours:
        if not ours: return Ended(task, 'claimed')
        try: train_arm(task.arm, task.seed, task.machine, root=task.root)
        except FileExistsError:
            if not is_there(task.root, path): raise
            return Ended(task, 'exists')
    return Ended(task)

def packed(task)->bytes:
    "A task as bytes, with the classes that a worker could not import; raises `CliError` for what cannot be sent"
    import cloudpickle
    from simpleattn.variants import ship
    ship(task.arm.variant, (*task.arm.recipe.callbacks, *task.machine.observers))
    try: return cloudpickle.dumps(task)
    except Exception as e:
        raise CliError(f"Arm {task.arm.name} cannot be sent to a worker ({' '.join(str(e).split())}). "
            "Make within its layer what that needs, not beside its class; or `--engine serial` trains it in this process.") from e

def run_packed(payload)->Ended: # Without its task, which the driver has
    "`run_task` of such bytes"
    import cloudpickle
    try: return replace(run_task(cloudpickle.loads(payload)), task=None)
    except BaseException as e: return _failed(None, e)

# ---- one after another

class SerialEngine:
    "Runs in this process, one after another"
    workers = 1
    def __init__(self, workers=None, gpus=None, per_run=1, threads=1, compiled=0): # it needs none of what other engines take
        self.tasks = deque()
    def submit(self, task): self.tasks.append(task)
    def next(self): return run_task(self.tasks.popleft())
    def close(self): self.tasks.clear()

# ---- what processes need of each other

@contextmanager
def no_main():
    "multiprocessing would import the user's script again in every worker; a task carries all that a worker needs, so main is hidden"
    main = sys.modules['__main__']
    sys.modules['__main__'] = types.ModuleType('__main__')
    try: yield
    finally: sys.modules['__main__'] = main

def die_with(sentinel):
    "End this process as soon as another one is gone"
    from multiprocessing.connection import wait
    def watch():
        wait([sentinel])
        os._exit(1)
    threading.Thread(target=watch, daemon=True).start()

def ends_silently():
    "For a fork server: a driver that is stopped while it asks for a worker ends it with an EOFError, which is no news for the terminal"
    usual = sys.excepthook
    def hook(kind, *args):
        if kind is not EOFError: usual(kind, *args)
    sys.excepthook = hook

@contextmanager
def _unheard():
    "A process that is started here inherits that it does not hear Ctrl-C; this one hears it a moment later"
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try: yield
    finally: signal.pthread_sigmask(signal.SIG_SETMASK, old)

@contextmanager
def _safe_path():
    "A Python that is started here imports nothing from the folder that it is started in, whatever lies there"
    before = os.environ.get('PYTHONSAFEPATH')
    os.environ['PYTHONSAFEPATH'] = '1'
    try: yield
    finally:
        del os.environ['PYTHONSAFEPATH']
        if before is not None: os.environ['PYTHONSAFEPATH'] = before

def _work(conn, log, gpu):
    "Body of a worker process: tasks until the pipe is closed, their output in a file"
    from multiprocessing import parent_process
    for o in ('SIGINT','SIGHUP'): # the driver hears them, and ends its workers
        if hasattr(signal, o): signal.signal(getattr(signal, o), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with(parent_process().sentinel)
    if gpu: os.environ['CUDA_VISIBLE_DEVICES'] = gpu
    try:
        with open(log, 'ab', 0) as f:
            os.dup2(f.fileno(), 1)
            os.dup2(f.fileno(), 2)
    except FileNotFoundError: return # the driver was stopped meanwhile, and its folder is gone
    while True:
        try: payload = conn.recv_bytes()
        except EOFError: return
        conn.send(run_packed(payload))

# ---- in worker processes

LAST_SECONDS = 10 # for a worker whose pipe is closed

@dataclass(eq=False)
class _Worker:
    conn:object         # The driver's end of its pipe
    log:Path            # File of its output
    gpu:str             # The device that it sees; None on a CPU
    process:object=None
    task:Task=None      # What it is at, or was at last

    def give(self, task):
        self.task = task
        if self.log.is_file(): os.truncate(self.log, 0)
        try: self.conn.send_bytes(packed(task))
        except (BrokenPipeError, ConnectionResetError): pass # it died: `next` sees that

    def answer(self)->Ended:
        try: return replace(self.conn.recv(), task=self.task)
        except (EOFError, OSError): return Ended(self.task, 'lost')

    def end(self):
        "Its pipe is closed, so it ends by itself; one that a thread of a layer keeps alive is killed, and after Ctrl-C any"
        self.conn.close()
        try: self.process.join(LAST_SECONDS)
        finally:
            self.process.kill() # does nothing to one that has ended
            self.process.join()

def _no_worker(error):
    "Why no worker can be started, and what to do"
    if 'too long' in str(error):
        return f"Workers need a socket in {tempfile.gettempdir()}, whose name is too long for one. Set TMPDIR to a short path, such as TMPDIR=/tmp."
    return f"No worker can be started here ({error or 'its server ended at once'}). `--engine serial` needs none."

def check_sockets():
    "Refuse a folder for temporary files in which workers could not meet their server, before anything is written"
    from multiprocessing.connection import arbitrary_address
    try:
        address = arbitrary_address('AF_UNIX')
        with socket.socket(socket.AF_UNIX) as s: s.bind(address)
        os.unlink(address)
    except OSError as e: raise CliError(_no_worker(e)) from None

def clear_logs():
    "Remove what drivers left that were killed outright: the logs of their workers"
    from simpleattn.files import is_alive
    for folder in Path(tempfile.gettempdir()).glob('simpleattn-logs-*-*'):
        driver = folder.name.split('-')[2]
        if driver.isdecimal() and not is_alive(int(driver)): shutil.rmtree(folder, ignore_errors=True)

MOST_WAITING = 8 # workers on GPUs, each with a compiled network, where fewer of them are to work at a time

def _of_its_own(task): return task.arm.recipe.compile

def _suits(worker, task):
    "May a worker that stays take a task? Compiled networks are of one arm"
    return worker.task.arm==task.arm or not (_of_its_own(worker.task) or _of_its_own(task))

class LocalEngine:
    """Worker processes forked from a server that has imported fastai once; a process that dies costs its own run only. On a CPU a process makes one run.
    On GPUs it stays, with the images on the device; for an arm that compiles it stays with the compiled network for the seeds of that arm, and waits while
    other arms have their turn."""
    preload = ['simpleattn.preload']
    def __init__(self,
        workers:int=None, # Processes; None: as many as the cores hold with their threads, or one a GPU, or one an arm that compiles on GPUs
        gpus:list=None,   # Devices, as CUDA_VISIBLE_DEVICES takes them; None: a CPU
        per_run=1,        # GPUs of a run: 1 or a fraction
        threads:int=1,    # CPU threads of a run
        compiled:int=0    # Arms whose recipe compiles
    ):
        import multiprocessing as mp
        check_sockets()
        self.keep = bool(gpus)
        if not workers: workers = max(int(len(gpus)/per_run), compiled) if gpus else max(1, num_cpus()//threads)
        self.workers = workers
        places = max(workers, min(compiled, MOST_WAITING)) if gpus else workers
        devices = gpus or [None]
        self.most = math.ceil(workers/len(devices)) # runs at a time on a device
        self.free = deque(devices[i%len(devices)] for i in range(places)) # places without a worker, by their device
        self.tasks,self.running,self.idle = deque(), [], []
        clear_logs()
        self.logs = tempfile.TemporaryDirectory(prefix=f'simpleattn-logs-{os.getpid()}-')
        self.ctx = mp.get_context('forkserver')
        self.ctx.set_forkserver_preload(self.preload)

    def submit(self, task): self.tasks.append(task)

    def next(self):
        from multiprocessing.connection import wait
        self._fill()
        ready = wait([w.conn for w in self.running])[0]
        worker = next(w for w in self.running if w.conn is ready)
        ended = worker.answer()
        self.running.remove(worker)
        failed = ended.how in ('failed','lost')
        if self.keep and not failed: self.idle.append(worker) # an error of CUDA stays with its process
        else: self._end(worker)
        if not failed: return ended
        error = ended.error or f'the process ended with code {worker.process.exitcode}'
        why = ended.why or error
        if worker.log.is_file(): error += '\n' + worker.log.read_text(errors='replace')[-4000:]
        return replace(ended, error=error, why=why)

    def _fill(self):
        "Begin tasks in their order, so that seeds are complete across arms as early as can be"
        while len(self.running)<self.workers and (found := self._next_to_begin()):
            task,worker = found
            self.tasks.remove(task)
            if worker:
                self.idle.remove(worker)
                self.running.append(worker)
            else: worker = self._start(self._place())
            worker.give(task)

    def _next_to_begin(self): # None where all that could begin have begun
        "The first task for which a worker is idle, or may be started"
        for task in self.tasks:
            worker = next((w for w in self.idle if _suits(w, task) and self._has_room(w.gpu)), None)
            if worker: return task, worker
            waits = _of_its_own(task) and any(w.task.arm==task.arm for w in self.running+self.idle)
            if not waits and self._has_place(): return task, None
        # more workers than arms: another one for an arm that has one
        if self.tasks and any(map(self._has_room, self.free)): return self.tasks[0], None

    def _has_room(self, gpu): return sum(w.gpu==gpu for w in self.running)<self.most
    def _has_place(self):
        "Is there a place for a new worker now? Where one is free on a busy device, it waits for that: an idle worker holds a compiled network"
        return any(map(self._has_room, self.free or [w.gpu for w in self.idle]))

    def _place(self):
        "A device for a new worker, where need be that of an idle one, which ends"
        if not any(map(self._has_room, self.free)):
            worker = next(w for w in self.idle if self._has_room(w.gpu))
            self.idle.remove(worker)
            self._end(worker)
        gpu = next(o for o in self.free if self._has_room(o))
        self.free.remove(gpu)
        return gpu

    def _start(self, gpu):
        "A new worker, known before it starts: whatever interrupts this, it ends with its pipe"
        conn,theirs = self.ctx.Pipe()
        worker = _Worker(conn, Path(self.logs.name)/f'{time.monotonic_ns()}.log', gpu)
        self.running.append(worker)
        for tries_left in (2,1,0):
            try:
                worker.process = self._forked(theirs, str(worker.log), worker.gpu)
                break
            except (EOFError, OSError) as e:
                if not tries_left: raise CliError(_no_worker(e)) from None
                time.sleep(.2) # the server was killed at this moment; the next try starts another
        theirs.close()
        return worker

    def _forked(self, *args):
        from multiprocessing import forkserver,resource_tracker
        process = self.ctx.Process(target=_work, args=args)
        with no_main(), _safe_path():
            resource_tracker.ensure_running() # would end the mask
            with _unheard(): forkserver.ensure_running()
            process.start()
        return process

    def _end(self, worker):
        worker.end()
        self.free.append(worker.gpu)

    def close(self):
        workers = self.running+self.idle
        processes = [w.process for w in workers if w.process]
        for w in workers: w.conn.close()
        for p in processes: p.terminate()
        for p in processes: p.join(2)
        for p in processes:
            p.kill() # does nothing to one that has ended
            p.join()
        for o in (self.running, self.idle, self.tasks): o.clear()
        self.logs.cleanup()

# ---- on a cluster

class RayEngine:
    "Tasks of a Ray cluster, a window of them at a time; workers write their records to the store themselves"
    def __init__(self,
        workers:int=None, # Runs at a time; None: as many as the cluster holds
        address:str=None, # An existing cluster, such as auto or ray://host:10001; None: one on this machine, on loopback only
        gpus:list=None,   # Not None: runs are made on GPUs
        per_run=1,        # GPUs of a run: 1 or a fraction
        threads:int=1,    # CPUs of a run
        compiled:int=0    # Arms whose recipe compiles, which ask for nothing here
    ):
        where = _where(address) # Ray reads its environment when it is imported
        try: import ray
        except ImportError: raise CliError("--engine ray needs Ray: pip install 'simpleattn[ray]'.") from None
        self.ray = ray
        self.limit = workers
        self.tasks,self.running = deque(), {}
        self.mine = not ray.is_initialized()
        if self.mine: self._connect(where, address, threads)
        self.need = dict(num_cpus=threads)
        if gpus is not None: self.need['num_gpus'] = per_run
        self.remote = ray.remote(**self.need, max_retries=0, max_calls=0, scheduling_strategy='SPREAD')(run_packed)

    def _connect(self, where, address, threads):
        env = dict(OMP_NUM_THREADS=str(threads))
        if 'SIMPLEATTN_DATA' in os.environ: env['SIMPLEATTN_DATA'] = os.environ['SIMPLEATTN_DATA']
        try: self.ray.init(**where, log_to_driver=False, runtime_env=dict(env_vars=env))
        except Exception as e:
            self.ray.shutdown()
            why = (str(e).strip() or repr(e)).splitlines()[0]
            raise CliError(f"Ray {f'at {address}' if address else 'here'} did not answer: {why}") from e

    def submit(self, task): self.tasks.append(task)

    @property
    def workers(self):
        "Runs that are asked for at a time, or that the cluster can hold at this moment"
        if self.limit: return self.limit
        there = self.ray.cluster_resources()
        needed = dict(CPU=self.need['num_cpus'], GPU=self.need.get('num_gpus'))
        return max(1, int(min(there.get(k, 0)/n for k,n in needed.items() if n)))

    def next(self):
        done = []
        while not done:
            self._fill()
            done,_ = self.ray.wait(list(self.running), timeout=5)
        task = self.running.pop(done[0])
        try: return replace(self.ray.get(done[0]), task=task)
        except self.ray.exceptions.RayError as e: return Ended(task, 'lost', f'{type(e).__name__}: {e}'.strip()[-4000:])

    def _fill(self):
        while self.tasks and len(self.running)<(self.limit or self.workers*9/8): # one of eight more waits at the nodes
            task = self.tasks.popleft()
            self.running[self.remote.remote(packed(task))] = task

    def close(self):
        for o in self.running: self.ray.cancel(o, force=True)
        self.running.clear()
        self.tasks.clear()
        if self.mine: self.ray.shutdown()
        self.mine = False

def _where(address):
    "What Ray is asked for"
    if address: return dict(address=address)
    if 'ray' in sys.modules: return dict(address='local', include_dashboard=False)
    return _alone()

def _alone():
    "A Ray of our own: on loopback only, without dashboard and usage statistics"
    os.environ.update(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER='0', RAY_USAGE_STATS_ENABLED='0', RAY_DISABLE_IMPORT_WARNING='1', RAY_worker_niceness='0')
    os.environ.setdefault('RAY_raylet_start_wait_time_s', '180')
    # a node gives its agent 15 s to come up, which the first import after an installation exceeds
    subprocess.run([sys.executable, '-P', '-c', 'from ray.dashboard.utils import *; get_all_modules(DashboardAgentModule)'], capture_output=True)
    return dict(address='local', include_dashboard=False, _node_ip_address='127.0.0.1')

# ---- by name

engines = dict(serial=SerialEngine, local=LocalEngine, ray=RayEngine)
pinning = {'local'} # whose workers see only the GPU of their run

def _takes_address(engine):
    takes = signature(engine).parameters.values()
    return any(o.name=='address' or o.kind is o.VAR_KEYWORD for o in takes)

def check_engine(
    name:str,         # serial, local, ray
    address:str=None, # Of a cluster
    workers:int=None  # Runs at a time
):
    "Raise `CliError` for an engine that is not there, for one of no workers, or one that has no use for several, or for an address"
    if workers is not None and workers<1: raise CliError(f"workers = {workers}: give at least 1.")
    if name not in engines: raise CliError(f"No engine {name!r}. {near(name, engines)}")
    if name=='serial' and workers not in (None,1): raise CliError(f"workers = {workers}: --engine serial makes one run at a time. Leave it out, or take --engine local.")
    if not address or _takes_address(engines[name]): return
    takers = [o for o,engine in engines.items() if _takes_address(engine)]
    raise CliError(f"address = {address}: an address is an option of --engine {' or '.join(takers)} only.")

def make_engine(
    name:str,         # serial, local, ray
    address:str=None, # Of a cluster
    **kwargs          # Of the engine: workers, gpus, per_run, threads, compiled
):
    "An engine by its name; one that takes an address is told one where it is given"
    check_engine(name, address, kwargs.get('workers'))
    return engines[name](**kwargs, **(dict(address=address) if address else {}))
