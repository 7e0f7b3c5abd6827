"""Lean steps: what they compute is what the plain ones compute, with less asking

They are for recipes that compile on a GPU. Here they run on a CPU, uncompiled, against the plain path; compiling is a slow test."""
import dataclasses,pickle
import pytest,torch
from fastai.callback.core import Callback
from fastai.learner import Learner
from torch.utils._python_dispatch import TorchDispatchMode
from simpleattn import train
from simpleattn.train import LeanLearner,fit_recipe,get_learner,train_one,weights_hash

CPU = torch.device('cpu')

def fitted(recipe, data, lean, variant='simple', seed=1, at_once=1024, on_device=True, **kw):
    "A learner that was fitted, with its crops cut as a GPU cuts them"
    learn = get_learner(recipe, variant, seed, data, device='cpu', lean=lean, **kw)
    for dl in learn.dls:
        if on_device: dl.dataset.device = CPU
        if lean: dl.at_once = at_once
    with learn.no_bar(), learn.no_logging(): fit_recipe(learn, recipe)
    return learn

def same(a, b, valid=1e-6):
    "Two learners that were fitted: weights and training losses to the bit; a mean of validation losses may be added up in another order"
    assert weights_hash(a.model)==weights_hash(b.model)
    assert torch.equal(torch.stack(list(a.recorder.losses)), torch.stack(list(b.recorder.losses)))
    assert a.record_correct.accs==b.record_correct.accs and all((x==y).all() for x,y in zip(a.record_correct.epochs, b.record_correct.epochs))
    for x,y in zip(a.recorder.values, b.recorder.values): assert list(x)==pytest.approx(list(y), rel=valid)

CASES = dict(plain={}, bfloat16=dict(precision='bfloat16'), float16=dict(precision='float16'), mixup=dict(mixup=.3), no_smoothing=dict(smooth=0.),
    ranger=dict(opt='ranger', sched='flat-cos'), pad=dict(crop='pad', val_extra=0))

@pytest.mark.parametrize('case', CASES)
def test_a_lean_run_is_the_plain_run(recipe, tiny, case):
    r = dataclasses.replace(recipe, epochs=2, **CASES[case])
    plain,lean = (fitted(r, tiny, o) for o in (False, True))
    assert type(plain) is Learner and type(lean) is LeanLearner
    same(plain, lean)

def test_dropout_draws_what_it_draws_in_the_plain_run(recipe, tiny, monkeypatch):
    "A network with dropout, and a short last batch of validation images"
    whole = train.Arm.network
    def with_dropout(arm, *args): return torch.nn.Sequential(whole(arm, *args), torch.nn.Dropout(.5))
    monkeypatch.setattr(train.Arm, 'network', with_dropout)
    same(*(fitted(dataclasses.replace(recipe, epochs=2), tiny, o) for o in (False, True)))

@pytest.mark.parametrize('at_once', [8,16,40,1024])
def test_crops_that_are_cut_together_are_those_of_each_batch(recipe, tiny, at_once):
    def batches(n):
        learn = get_learner(recipe, 'baseline', 3, tiny, device='cpu')
        for dl in learn.dls:
            dl.dataset.device = CPU
            dl.at_once = n
        return [[b for _ in range(2) for b in dl] for dl in learn.dls] # two epochs
    for plain,together in zip(batches(0), batches(at_once)):
        assert len(plain)==len(together)
        for (x,y),(x2,y2) in zip(plain, together): assert type(x) is type(x2) and torch.equal(x, x2) and torch.equal(y, y2)

def test_chunks_are_for_crops_on_a_device(recipe, tiny):
    "Images that are cut one by one are cut for each batch"
    same(*(fitted(recipe, tiny, o, on_device=False) for o in (False, True)))

def test_batch_norms_have_counted_their_batches_after_each_epoch_and_after_a_run_that_diverged(recipe, tiny):
    class Counted(Callback):
        order = 79 # before a checkpoint
        def before_fit(self): self.seen = []
        def before_batch(self): self.within = self.learn.model[0][1].num_batches_tracked
        def after_epoch(self): self.seen.append(self.learn.model[0][1].num_batches_tracked.item())
    cb = Counted()
    lean = fitted(dataclasses.replace(recipe, epochs=2), tiny, True, cbs=cb)
    n = len(lean.dls.train)
    assert cb.seen==[n,2*n] and cb.within is not None # it was looked at last in validation
    r = dataclasses.replace(recipe, lr=1e20, opt='sgd', sched='constant')
    plain,lean = (fitted(r, tiny, o) for o in (False, True))
    assert plain.stop_when_diverged.diverged and weights_hash(plain.model)==weights_hash(lean.model)

def test_a_callback_between_prediction_and_loss_is_heeded(recipe, tiny):
    class Halved(Callback):
        order = 30
        def after_pred(self): self.learn.pred = self.pred/2
    plain,lean,other = fitted(recipe, tiny, False, cbs=Halved()), fitted(recipe, tiny, True, cbs=Halved()), fitted(recipe, tiny, True)
    same(plain, lean)
    assert weights_hash(lean.model)!=weights_hash(other.model)

def test_a_callback_with_the_name_of_one_of_ours_is_heeded(recipe, tiny):
    class WholeBatches(Callback):
        order = 30
        def after_pred(self): self.learn.pred = self.pred/2
    same(*(fitted(recipe, tiny, lean, cbs=WholeBatches()) for lean in (False, True)))

def test_callbacks_that_come_and_go_are_heard(recipe, tiny):
    class Heard(Callback):
        def __init__(self): self.n = 0
        def after_batch(self): self.n += 1
    class Any(Callback):
        "One that hears every event by itself"
        def __init__(self): self.events = []
        def __call__(self, event_name): self.events.append(event_name)
    class Adds(Callback):
        def __init__(self, cb): self.cb = cb
        def after_step(self):
            if self.iter==2: self.learn.add_cb(self.cb)
            if self.iter==4: self.learn.remove_cb(self.cb)
    def counts(lean):
        heard,every = Heard(),Any()
        learn = fitted(recipe, tiny, lean, cbs=[Adds(heard), every])
        return heard.n, every.events
    assert counts(True)==counts(False) and counts(True)[0]==2

def test_a_lean_learner_predicts_validates_and_can_be_pickled(recipe, tiny):
    plain,lean = (fitted(recipe, tiny, o) for o in (False, True))
    with plain.no_bar(), lean.no_bar():
        assert list(lean.validate())==pytest.approx(list(plain.validate()), rel=1e-6)
        for kw in ({}, dict(with_loss=True), dict(with_decoded=True)):
            for a,b in zip(plain.get_preds(**kw), lean.get_preds(**kw)): assert torch.allclose(a.float(), b.float(), rtol=1e-6)
    again = pickle.loads(pickle.dumps(lean))
    assert again._with_loss is None and weights_hash(again.model)==weights_hash(lean.model)

def test_cudnn_tries_its_forms_during_the_fit_only(recipe, tiny):
    class Looks(Callback):
        def before_batch(self): self.seen = torch.backends.cudnn.benchmark
    before,cb = torch.backends.cudnn.benchmark,Looks()
    fitted(recipe, tiny, True, cbs=cb)
    assert cb.seen and torch.backends.cudnn.benchmark==before
    fitted(recipe, tiny, False, cbs=cb)
    assert cb.seen==before

class Stops(Callback):
    def before_batch(self): raise KeyboardInterrupt

def test_a_fit_that_is_interrupted_leaves_cudnn_as_it_was(recipe, tiny, monkeypatch):
    "At once after a run, and at the next fit of a learner of one's own"
    before = torch.backends.cudnn.benchmark
    learn = get_learner(recipe, 'simple', 0, tiny, device='cpu', lean=True)
    with learn.no_bar(), learn.no_logging():
        with pytest.raises(KeyboardInterrupt): learn.fit(1, cbs=Stops())
        learn.fit(1)
    assert torch.backends.cudnn.benchmark==before
    usual = train._learner_of
    monkeypatch.setattr(train, '_learner_of', lambda *args, **kwargs: usual(*args, **kwargs, lean=True))
    with pytest.raises(KeyboardInterrupt): train_one(recipe, 'simple', 0, tiny, device='cpu', cbs=[Stops()])
    assert torch.backends.cudnn.benchmark==before

def test_only_what_compiles_on_a_gpu_is_lean_and_its_record_says_so(recipe, tiny, monkeypatch):
    assert type(get_learner(recipe, 'simple', 0, tiny, device='cpu')) is Learner
    assert type(get_learner(dataclasses.replace(recipe, compile=True), 'simple', 0, tiny, device='cpu')) is Learner
    assert 'lean' not in train_one(recipe, 'simple', 0, tiny, device='cpu').machine
    usual = train._learner_of
    monkeypatch.setattr(train, '_learner_of', lambda *args, **kwargs: usual(*args, **kwargs, lean=True))
    lean = train_one(recipe, 'simple', 0, tiny, device='cpu')
    assert len(lean.machine['lean'])==5 and 'cudnn.benchmark' in lean.machine['lean'] and lean.pipeline==1

class Launches(TorchDispatchMode):
    "Counts the operations that the host asks for, but for those within a call that stands for a compiled one"
    n,within = 0,False
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.n += not self.within
        return func(*args, **(kwargs or {}))

def test_a_lean_step_asks_for_fewer_kernels(recipe, tiny, monkeypatch):
    "Forward, around the compiled call; crops and normalisation are few for a whole epoch"
    def count(lean):
        mode = Launches()
        def compiled(f, **kwargs):
            def call(*args):
                mode.within = True
                try: return f(*args)
                finally: mode.within = False
            return call
        monkeypatch.setattr(torch, 'compile', compiled)
        r = dataclasses.replace(recipe, compile=True, precision='bfloat16')
        with mode: learn = fitted(r, tiny, lean, 'baseline')
        return mode.n, len(learn.dls.train)+len(learn.dls.valid)
    (plain,n),(lean,_) = (count(o) for o in (False, True))
    assert (plain-lean)/n>30, (plain/n, lean/n)

@pytest.mark.slow
def test_a_compiled_lean_run_is_the_compiled_plain_run_and_compiles_two_graphs(recipe, tiny):
    "One to train and one to validate, once for two seeds"
    from torch._dynamo.utils import counters
    r = dataclasses.replace(recipe, compile=True)
    def runs(lean):
        counters.clear()
        train.forget_compiled()
        try: return [fitted(r, tiny, lean, seed=s, reuse=True) for s in (0,1)], counters['stats']['unique_graphs'], dict(counters['graph_break'])
        finally: train.forget_compiled()
    plain,lean = runs(False),runs(True)
    assert lean[1:]==(2,{})
    for a,b in zip(plain[0], lean[0]):
        assert a.recorder.values[-1][0]==pytest.approx(b.recorder.values[-1][0], rel=1e-3)
        assert a.model.state_dict().keys()==b.model.state_dict().keys()

def test_an_interrupted_fit_leaves_no_batch_uncounted(recipe, tiny):
    class Interrupt(Callback):
        def after_step(self):
            if self.iter==1: raise KeyboardInterrupt
    learn = get_learner(recipe, 'baseline', 1, tiny, device='cpu', lean=True)
    n = len(learn.dls.train)
    with learn.no_bar(), learn.no_logging():
        with pytest.raises(KeyboardInterrupt): learn.fit(1, cbs=Interrupt())
        learn.fit(1)
    assert learn.model[0][1].num_batches_tracked==n+2
