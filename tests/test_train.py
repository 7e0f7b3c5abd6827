"""One run: the same twice, paired with every variant of its seed, honest about divergence, and a real fastai Learner"""
import hashlib,json,math,shutil
from contextlib import nullcontext
import numpy as np, pytest, torch
from torch import nn
from torch.nn import functional as F
from fastai.callback.core import Callback
from fastai.learner import Learner
from fastai.optimizer import Adam,Lookahead
from fastcore.script import CliError
from simpleattn.attention import SimpleSelfAttention
from simpleattn.data import get_path,list_images
from simpleattn.optimisers import NovoGrad,PublishedAdam,RALamb,foreach,opt_func
from simpleattn.published import match_recipe,published
from simpleattn.recipes import Recipe,choices,derive,load_recipes
from simpleattn.runs import Machine,read_run
from simpleattn.shapes import make_shapes
from simpleattn.train import chance_limit,fit_recipe,get_learner,train_arm,train_one
from simpleattn.variants import Variant,read_arm
from conftest import ROOT

@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch): monkeypatch.chdir(tmp_path)

class Noisy(nn.Module):
    "Draws as it likes, in training and out of it"
    def __init__(self, ni):
        super().__init__()
        self.drop,self.gamma = nn.Dropout(.3), nn.Parameter(torch.zeros(1))
    def forward(self, x): return x + self.gamma*self.drop(x)*torch.rand(()) + 0*torch.randn(7).sum() + 0*np.random.rand()

class Seen(Callback):
    "Digests of all training batches as the network gets them"
    order = 100
    def before_fit(self): self.digests = []
    def after_pred(self):
        if not self.training: return
        h = hashlib.sha256(self.xb[0].numpy().tobytes()+self.yb[0].numpy().tobytes())
        mix = getattr(self.learn, 'mix_up', None)
        if mix is not None: h.update(mix.lam.numpy().tobytes()+mix.yb1[0].numpy().tobytes())
        self.digests.append(h.hexdigest())

def seen(recipe, variant, data, seed=0, **kw):
    cb = Seen()
    run = train_one(recipe, variant, seed, data, cbs=[cb], **kw)
    return cb.digests, run

def facts(run): return run.acc, run.correct, run.history, run.best_acc, run.status

VARIANTS = ['baseline', 'simple', Variant('noisy', Noisy, '1.-1,2.-1')]

# ---- the same again

@pytest.mark.parametrize('variant', VARIANTS, ids=lambda v:getattr(v,'name',v))
def test_the_same_seed_twice_is_bit_identical(recipe, tiny, variant):
    r = derive(recipe, epochs=2)
    torch.manual_seed(1); a = train_one(r, variant, 3, tiny)
    torch.manual_seed(2); torch.rand(5); np.random.seed(4); b = train_one(r, variant, 3, tiny)
    assert facts(a)==facts(b) and len(a.history)==2

def test_a_run_leaves_the_generators_as_they_were(recipe, tiny):
    import random
    def drawn(): return torch.rand(1).item(), random.random(), np.random.rand()
    def seeded(): torch.manual_seed(5); random.seed(5); np.random.seed(5)
    seeded(); right = drawn()
    seeded(); train_one(recipe, 'self', 0, tiny)
    assert drawn()==right

def test_another_seed_is_another_run(recipe, tiny): assert train_one(recipe, 'baseline', 0, tiny).history!=train_one(recipe, 'baseline', 1, tiny).history

def test_loader_workers_change_nothing(recipe, tiny):
    r = derive(recipe, epochs=2, mixup=.2)
    (a,one),(b,two) = (seen(r, 'simple', tiny, workers=n) for n in (0,2))
    assert a==b and facts(one)==facts(two)

# ---- pairing

@pytest.mark.parametrize('mixup', [0.,.2])
def test_every_variant_of_a_seed_sees_the_same_batches(recipe, tiny, mixup):
    r = derive(recipe, epochs=2, mixup=mixup)
    first = seen(r, VARIANTS[0], tiny)[0]
    assert len(first)==12 and len(set(first))==12
    for v in VARIANTS[1:]: assert seen(r, v, tiny)[0]==first
    assert not set(seen(r, 'baseline', tiny, seed=1)[0]) & set(first)

def test_a_second_fit_goes_on_in_the_streams(recipe, tiny):
    "And two fits of one epoch see what one fit of two epochs sees"
    cb = Seen()
    learn = get_learner(recipe, 'simple', 0, tiny, cbs=cb)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 1e-3); first = cb.digests
        learn.fit(1, 1e-3)
    assert first+cb.digests==seen(derive(recipe, epochs=2), 'baseline', tiny)[0]

class Ones(nn.Dropout):
    "Dropout that keeps its masks"
    def forward(self, x):
        m = super().forward(torch.ones_like(x))
        if self.training: self.masks = getattr(self, 'masks', []) + [m.detach().clone()]
        return x*m

def masks(recipe, variant, data, seed=0):
    learn = get_learner(recipe, variant, seed, data)
    drops = [Ones(.5), Ones(.5)]
    learn.model[-3] = nn.Sequential(learn.model[-3], drops[0]); learn.model[-1] = nn.Sequential(drops[1], learn.model[-1])
    with learn.no_bar(), learn.no_logging(): fit_recipe(learn, recipe)
    return [torch.stack(d.masks) for d in drops]

def test_dropout_in_the_backbone_is_paired(recipe, tiny):
    a = masks(recipe, VARIANTS[0], tiny)
    for v in VARIANTS[1:]: assert all(torch.equal(x, y) for x,y in zip(a, masks(recipe, v, tiny)))
    assert len(a[0])==6 and not torch.equal(a[0][0], a[0][1]), 'a mask for every batch'
    assert not torch.equal(a[1], masks(recipe, 'baseline', tiny, 1)[1]), 'and for every seed'

def test_dropouts_of_one_shape_have_masks_of_their_own(recipe, tiny):
    learn,drops = get_learner(recipe, 'baseline', 0, tiny), [Ones(.5), Ones(.5)]
    learn.model[-1] = nn.Sequential(*drops, learn.model[-1])
    with learn.no_bar(), learn.no_logging(): fit_recipe(learn, recipe)
    assert len(drops[0].masks)==6 and not any(torch.equal(a, b) for a,b in zip(*(d.masks for d in drops)))

def test_every_variant_of_a_seed_starts_from_the_same_backbone(recipe, tiny):
    a,*others = (get_learner(recipe, v, 7, tiny).model.state_dict() for v in VARIANTS)
    for b in others: assert len(b)>len(a) and all(torch.equal(t, b[k]) for k,t in a.items())
    assert not torch.equal(a['0.0.weight'], get_learner(recipe, 'baseline', 8, tiny).model.state_dict()['0.0.weight'])

# ---- divergence

class Poison(Callback):
    "A loss that is not finite from some epoch on"
    order = 60
    def __init__(self, epoch, value=math.nan): self.at,self.value = epoch,value
    def after_loss(self):
        if self.training and self.epoch>=self.at: self.learn.loss_grad = self.learn.loss_grad*self.value

def test_a_learning_rate_out_of_bounds_ends_as_diverged_and_is_recorded(recipe, tiny, tmp_path):
    run = train_one(derive(recipe, lr=1e20, opt='sgd', sched='constant', epochs=2), 'baseline', 0, tiny, root=tmp_path/'runs')
    assert (run.status,run.reason,run.acc,run.correct)==('diverged','loss not finite',None,'')
    text = (tmp_path/'runs'/run.path).read_text()
    assert 'NaN' not in text and 'Infinity' not in text
    assert json.loads(text)['status']=='diverged' and read_run(tmp_path/'runs'/run.path, tmp_path/'runs')==run

@pytest.mark.parametrize('value', [math.nan,math.inf])
@pytest.mark.parametrize('at', [0,1])
def test_a_loss_that_is_not_finite_ends_the_run_at_once(recipe, tiny, value, at):
    cb = Seen()
    run = train_one(derive(recipe, epochs=3), 'simple', 0, tiny, cbs=[Poison(at, value), cb])
    assert (run.status,run.acc,len(run.history),len(cb.digests))==('diverged',None,at,6*at+1)
    assert run.best_epoch==(1 if at else None) and (run.best_acc is None) == (not at)
    json.dumps(run.to_dict(), allow_nan=False)

class Answer(Callback):
    "Puts chosen answers in the place of the network's"
    order = 60
    def __init__(self, right): self.right = right
    def after_pred(self):
        if self.training: return
        y = self.yb[0]
        self.learn.pred = F.one_hot(y if self.right[self.epoch] else torch.zeros_like(y), 6).float()

def test_an_accuracy_at_chance_counts_as_diverged_and_keeps_its_number(recipe, tmp_path):
    run = train_one(recipe, 'baseline', 0, make_shapes(tmp_path/'s', 12, 120, 16), cbs=[Answer([False])])
    assert (run.status,run.acc)==('diverged',20/120) and 'chance' in run.reason and run.bits().sum()==20
    assert train_one(recipe, 'baseline', 0, tmp_path/'s', cbs=[Answer([True])]).status=='ok'

def test_a_handful_of_images_cannot_tell_chance(recipe, tiny): assert train_one(recipe, 'baseline', 0, tiny, cbs=[Answer([False])]).status=='ok'

def test_a_validation_loss_that_is_not_finite_counts_as_diverged_and_keeps_its_number(recipe, tiny):
    class Spoil(Callback):
        def after_loss(self):
            if not self.training: self.learn.loss = self.learn.loss*math.nan
    run = train_one(recipe, 'baseline', 0, tiny, cbs=[Answer([True]), Spoil()])
    assert (run.status,run.acc,run.history[0]['valid_loss'])==('diverged',1.,None) and 'validation' in run.reason

def test_the_limit_of_chance():
    assert chance_limit(10, 3929)==pytest.approx(.1+5*math.sqrt(.09/3929))
    assert chance_limit(10, 500)>chance_limit(10, 3929)>.1 and chance_limit(6, 24)==0

# ---- what is recorded

def test_last_and_best_epoch_are_told_apart(recipe, tiny):
    run = train_one(derive(recipe, epochs=3), 'baseline', 0, tiny, cbs=[Answer([False,True,False])])
    assert (run.acc,run.best_acc,run.best_epoch)==(4/24,1.,2)
    assert [o['acc'] for o in run.history]==[4/24,1.,4/24]

def test_the_accuracy_is_the_mean_of_its_bits_and_what_validate_says(recipe, tiny):
    r = derive(recipe, epochs=3)
    run,learn = train_one(r, 'simple', 1, tiny), get_learner(r, 'simple', 1, tiny)
    with learn.no_bar(), learn.no_logging():
        fit_recipe(learn, r)
        last = learn.recorder.values[-1]
        assert run.acc==run.bits().mean()==pytest.approx(learn.validate()[1], abs=1e-7)
        pred,y = learn.get_preds()
    assert run.acc==pytest.approx(last[2], abs=1e-7) and run.history[-1]['valid_loss']==pytest.approx(last[1])
    assert ((pred.argmax(1)==y).numpy()==run.bits()).all(), 'a bit for each validation image, in their order'
    assert run.n_images==24==len(run.bits())

def test_the_record_holds_what_identifies_and_explains_a_run(recipe, tiny, tmp_path):
    run = train_one(recipe, 'simple@2.-1', 5, tiny, root='runs')
    assert (tmp_path/'runs'/'tiny'/'simple@2.-1'/run.env/'5.json').is_file()
    assert run.env==f"cpu-torch{'.'.join(torch.__version__.split('+')[0].split('.')[:2])}" and run.recipe==recipe.to_dict() and run.recipe_hash==recipe.hash
    assert run.variant['layer']=='simpleattn.attention:SimpleSelfAttention' and run.variant['site']=='2.-1'
    assert run.params==sum(p.numel() for p in get_learner(recipe, 'simple@2.-1', 5, tiny).model.parameters())
    assert (run.data['n_train'],run.data['n_val'],run.data['source'],run.pipeline,run.seed)==(48,24,'full',1,5) and len(run.data['fingerprint'])==12
    assert 0<run.train_seconds<run.wall_seconds and run.machine['threads']==1 and run.machine['versions']['torch']==torch.__version__.split('+')[0]
    assert {'train_loss','valid_loss','acc'}<=set(run.history[0])
    with pytest.raises(FileExistsError): train_one(recipe, 'simple@2.-1', 5, tiny, root='runs')

def test_threads_are_as_asked_and_then_as_before(recipe, tiny):
    class Threads(Callback):
        def before_batch(self): self.n = torch.get_num_threads()
    cb,before = Threads(), torch.get_num_threads()
    assert train_one(recipe, 'baseline', 0, tiny, threads=2, cbs=[cb]).machine['threads']==cb.n==2
    assert torch.get_num_threads()==before

def test_training_says_nothing_unless_asked(recipe, tiny, capfd):
    train_one(recipe, 'baseline', 0, tiny)
    assert capfd.readouterr().out==''

def test_no_callback_shadows_an_attribute_of_the_learner(recipe, tiny, recwarn):
    train_one(recipe, 'baseline', 0, tiny)
    assert not [o for o in recwarn if 'shadowing' in str(o.message)]

def test_an_arm_and_its_names_are_the_same_run(recipe, tiny):
    run = train_arm(read_arm('simple', recipe), 3, Machine(device='cpu', data=tiny))
    assert facts(run)==facts(train_one(recipe, 'simple', 3, tiny, device='cpu'))

# ---- optimisers, schedules, precision

@pytest.mark.parametrize('opt', choices['opt'])
def test_every_optimiser_trains(recipe, tiny, opt):
    r = derive(recipe, opt=opt, lr=1e-3, wd=.02, mom=.8, sqr_mom=.97, eps=1e-5, sched='constant')
    learn = get_learner(r, 'simple', 0, tiny)
    before = {k:p.detach().clone() for k,p in learn.model.named_parameters()}
    with learn.no_bar(), learn.no_logging(): fit_recipe(learn, r)
    moved = [k for k,p in learn.model.named_parameters() if not torch.equal(p, before[k])]
    assert len(moved)>.9*len(before) and all(torch.isfinite(p).all() for p in learn.model.parameters())
    h = learn.opt.hypers[0]
    assert h['lr']==1e-3 and h['wd']==.02
    if opt not in ('sgd','novograd'): assert h['sqr_mom']==.97 and h['eps']==1e-5
    if opt not in ('rms','novograd'): assert h['mom']==.8

def published_adam(w, grads, lr, wd, mom, sqr_mom, eps):
    "Weights after each step as torch 1.2 defines Adam: decay, then a step over the root of the raw variance plus eps, both corrections of bias in its size"
    m,v = torch.zeros_like(w),torch.zeros_like(w)
    for t,g in enumerate(grads, 1):
        w = w*(1-lr*wd)
        m,v = mom*m+(1-mom)*g, sqr_mom*v+(1-sqr_mom)*g*g
        w = w - lr*math.sqrt(1-sqr_mom**t)/(1-mom**t)*m/(v.sqrt()+eps)
        yield w

@pytest.mark.parametrize('dtype', [torch.float64,torch.float32], ids=['functions','one kernel'])
@pytest.mark.parametrize('many', [False,True], ids=['one by one','many at once'])
@pytest.mark.parametrize('size', [1e-7,1e-5,1.])
def test_adam_published_is_that_of_torch_1_2(size, many, dtype):
    torch.manual_seed(0)
    w,grads = torch.randn(8,5, dtype=dtype),torch.randn(40,8,5, dtype=dtype)*size
    hypers = dict(lr=.02, wd=.3, mom=.9, sqr_mom=.99, eps=1e-6)
    def made(make):
        p = torch.nn.Parameter(w.clone())
        opt = make([p], **hypers)
        if many: foreach(opt)
        for g in grads:
            p.grad = g.clone()
            opt.step()
            yield p.detach().clone()
    close = 1e-12 if dtype==torch.float64 else 2e-6
    for t,(ours,todays,want) in enumerate(zip(made(PublishedAdam), made(Adam), published_adam(w, grads, **hypers))):
        assert torch.allclose(ours, want, rtol=0, atol=close)
        if t==0 and size==1e-7:
            decayed = w*(1-hypers['lr']*hypers['wd'])
            assert (todays-decayed).norm()>5*(want-decayed).norm(), 'the published first step is shorter where gradients are small'

def published_ralamb(w, grads, lr, wd, mom, sqr_mom, eps, lookahead=None):
    """Weights after each step by the published definition: decay, then RAdam's step times min(|w|, 10)/|w|, both norms after the decay; 1 at norm 0.
    The step is over the root of the raw variance plus eps, both corrections of bias in its size.
    Over9000 goes back half of the way after each `lookahead` steps"""
    slow = w
    m,v = torch.zeros_like(w),torch.zeros_like(w)
    most = 2/(1-sqr_mom)-1
    for t,g in enumerate(grads, 1):
        w = w*(1-lr*wd)
        m,v = mom*m+(1-mom)*g, sqr_mom*v+(1-sqr_mom)*g*g
        norm = w.norm().item()
        trust = min(norm, 10)/norm if norm else 1.
        known = most - 2*t*sqr_mom**t/(1-sqr_mom**t)
        size = lr/(1-mom**t)
        if known<5: w = w - trust*size*m
        else:
            size *= math.sqrt((1-sqr_mom**t)*(known-4)/(most-4)*(known-2)/known*most/(most-2))
            w = w - trust*size*m/(v.sqrt()+eps)
        if lookahead and t%lookahead==0: w = slow = slow+(w-slow)/2
        yield w

RALAMB = dict(lr=.02, wd=.3, mom=.9, sqr_mom=.99, eps=1e-6)

def steps_of(make, w, grads, **form):
    "Weights after each step of an optimiser of ours"
    p = torch.nn.Parameter(w.clone())
    opt = make([p], **RALAMB, **form)
    for g in grads:
        p.grad = g.clone()
        opt.step()
        yield p.detach().clone()

@pytest.mark.parametrize('size', [1e-7,1e-6,1.])
@pytest.mark.parametrize('norm', [0.,2.,9.99,30.])
def test_ralamb_published_is_the_published_definition(norm, size):
    torch.manual_seed(0)
    w,grads = torch.randn(7,5, dtype=torch.float64),torch.randn(40,7,5, dtype=torch.float64)*size
    w = w/w.norm()*norm
    pairs = zip(steps_of(RALamb, w, grads, published=True), steps_of(RALamb, w, grads), published_ralamb(w, grads, **RALAMB))
    for ours,lamb,want in pairs:
        assert torch.allclose(ours, want, rtol=1e-10, atol=1e-12)
        if norm and size==1: assert not torch.allclose(lamb, want, rtol=.01)

@pytest.mark.parametrize('size', [1e-6,1.])
def test_over9000_published_is_lookahead_around_it(size):
    torch.manual_seed(0)
    w,grads = torch.randn(7,5, dtype=torch.float64),torch.randn(40,7,5, dtype=torch.float64)*size
    recipe = Recipe('r', opt='over9000-published', mom=RALAMB['mom'], sqr_mom=RALAMB['sqr_mom'], eps=RALAMB['eps'])
    def made(params, lr, wd, **rest): return opt_func(recipe)(params, lr=lr, wd=wd)
    for ours,want in zip(steps_of(made, w, grads), published_ralamb(w, grads, **RALAMB, lookahead=6)): assert torch.allclose(ours, want, rtol=1e-10, atol=1e-12)

def published_novograd(w, grads, lr, wd, mom, sqr_mom, eps):
    "Weights after each step by the published definition: decay, then the momentum of gradients over the root of their average squared norm, which begins at the first that is not 0"
    m,v = torch.zeros_like(w),0.
    for g in grads:
        w = w*(1-lr*wd)
        squared = g.square().sum()
        v = squared if v==0 else sqr_mom*v+(1-sqr_mom)*squared
        m = mom*m + g/(v.sqrt()+eps)
        w = w - lr*m
        yield w

@pytest.mark.parametrize('zeros', [0,1,3])
def test_novograd_published_is_the_published_definition(zeros):
    "Also where the first gradients are 0, as in residual branches that begin at 0"
    torch.manual_seed(0)
    w,grads = torch.randn(7,5, dtype=torch.float64),torch.randn(40,7,5, dtype=torch.float64)
    grads[:zeros] = 0
    pairs = zip(steps_of(NovoGrad, w, grads, published=True), steps_of(NovoGrad, w, grads), published_novograd(w, grads, **RALAMB))
    for t,(ours,papers,want) in enumerate(pairs):
        assert torch.allclose(ours, want, rtol=1e-10, atol=1e-12)
        assert torch.allclose(papers, want, rtol=1e-10, atol=1e-12)==(not zeros or t<zeros), "by the paper's rule the step after zeros is longer"

@pytest.mark.slow
def test_published_arms_of_three_optimisers_have_the_published_form():
    p = torch.nn.Parameter(torch.ones(2))
    for row in published('runs'):
        if row['optimiser'] not in ('ralamb','over9000','novograd'): continue
        opt = opt_func(match_recipe(row, load_recipes(ROOT/'settings.ini')))([p], lr=.1)
        step = getattr(opt, 'opt', opt).cbs[1 if row['optimiser']=='novograd' else -1]
        assert step.keywords==dict(published=True) and isinstance(opt, Lookahead)==(row['optimiser']=='over9000')
    for name in ('ralamb','over9000'):
        opt = opt_func(Recipe('r', opt=name))([p], lr=.1)
        assert getattr(opt, 'opt', opt).cbs[-1].keywords==dict(published=False)

def lrs(recipe, data, **kw):
    r = derive(recipe, **kw)
    learn = get_learner(r, 'baseline', 0, data)
    with learn.no_bar(), learn.no_logging(): fit_recipe(learn, r)
    return np.array(learn.recorder.lrs)

def test_one_cycle_rises_from_a_div_th_to_the_peak_and_falls(recipe, tiny):
    lr = lrs(recipe, tiny, sched='one-cycle', lr=1e-3, div=10., pct_start=.3, epochs=5)
    assert lr[0]==pytest.approx(1e-4) and lr.max()==pytest.approx(1e-3, rel=.02) and lr.argmax() in (8,9,10) and lr[-1]<1e-5 and len(lr)==30

def test_flat_cos_is_flat_and_then_falls(recipe, tiny):
    lr = lrs(recipe, tiny, sched='flat-cos', lr=1e-3, pct_start=.5, epochs=4)
    assert (lr[:12]==1e-3).all() and (np.diff(lr[13:])<0).all() and lr[-1]<1e-4

def test_step_drops_at_its_epochs_and_constant_stays(recipe, tiny):
    assert lrs(recipe, tiny, sched='step', lr=1e-3, step_epochs=2, step_gamma=.1, epochs=5)==pytest.approx(np.repeat([1e-3,1e-4,1e-5], [12,12,6]))
    assert set(lrs(recipe, tiny, sched='constant', lr=1e-3, epochs=2))=={1e-3}

def test_one_cycle_moves_momentum_as_the_recipe_says(recipe, tiny):
    class Momentum(Callback):
        def before_fit(self): self.seen = []
        def after_batch(self):
            if self.training: self.seen.append(self.opt.hypers[0]['mom'])
    cb = Momentum()
    train_one(derive(recipe, moms=(.9,.7,.95), epochs=5), 'baseline', 0, tiny, cbs=[cb])
    assert cb.seen[0]==pytest.approx(.9, abs=.01) and min(cb.seen)==pytest.approx(.7, abs=.01) and cb.seen[-1]==pytest.approx(.95, abs=.01)

def test_weight_decay_leaves_norms_and_biases_alone(recipe, tiny):
    "With a learning rate that only decay can show: weights shrink, the others stay"
    learn = get_learner(recipe, 'baseline', 0, tiny)
    learn.create_opt()
    kinds = {n:learn.opt.state[p].get('do_wd', True) for n,p in learn.model.named_parameters()}
    norms = {f'{n}.{k}' for n,m in learn.model.named_modules() if isinstance(m, nn.BatchNorm2d) for k in ('weight','bias')}
    assert {n for n,wd in kinds.items() if not wd} == norms | {n for n in kinds if n.endswith('.bias')}

@pytest.mark.parametrize('precision', ['bfloat16','float16'])
def test_half_precision_is_autocast_and_the_weights_stay_float32(recipe, tiny, precision):
    seen = []
    class Types(Callback):
        def before_fit(self):
            self.h = [m.register_forward_hook(lambda m,i,o: seen.append(o.dtype)) for m in self.model.modules() if isinstance(m, (nn.Conv2d,nn.Linear))]
        def after_fit(self): [h.remove() for h in self.h]
    run = train_one(derive(recipe, precision=precision), 'simple', 0, tiny, cbs=[Types()])
    assert set(seen)=={getattr(torch, precision)} and len(run.history)==1 and math.isfinite(run.history[0]['train_loss'])
    assert run.history!=train_one(recipe, 'simple', 0, tiny).history

def test_label_smoothing_and_mixup_are_as_the_recipe_says(recipe, tiny):
    assert [type(get_learner(derive(recipe, smooth=s), 'baseline', 0, tiny).loss_func).__name__
        for s in (.1,0.)]==['LabelSmoothingCrossEntropy','CrossEntropyLossFlat']
    assert get_learner(derive(recipe, smooth=.2), 'baseline', 0, tiny).loss_func.eps==.2
    assert get_learner(derive(recipe, mixup=.3), 'baseline', 0, tiny).mix_up.distrib.concentration1.item()==pytest.approx(.3)

# ---- a real Learner

def test_get_learner_gives_a_learner_on_which_fastai_works(recipe, tiny):
    class Count(Callback):
        n = 0
        def after_batch(self): self.n += self.training
    cb = Count()
    learn = get_learner(recipe, 'simple', 0, tiny, cbs=cb)
    assert type(learn) is Learner and learn.dls.c==6 and any(isinstance(o, SimpleSelfAttention) for o in learn.model.modules())
    with learn.no_bar(), learn.no_logging():
        before = {k:t.clone() for k,t in learn.model.state_dict().items()}
        lr = learn.lr_find(num_it=12, show_plot=False)
        assert lr.valley>0 and all(torch.equal(t, before[k]) for k,t in learn.model.state_dict().items())
        learn.fit_one_cycle(1, 1e-3)
        assert cb.n==12+6 and len(learn.recorder.values)==1
        learn.save('here'); learn.load('here')
        assert learn.get_preds()[0].shape==(24,6)
    learn.show_results(max_n=4)
    learn.dls.show_batch(max_n=4)

def test_fastais_csv_logger_passes_through_and_leaves_the_run_as_it_is(recipe, tiny, tmp_path):
    "A tracker given by `cbs=` gets every epoch; the run has the numbers that it has without one"
    from fastai.callback.progress import CSVLogger
    import csv
    r,logger = derive(recipe, epochs=2), CSVLogger(tmp_path/'log.csv')
    run = train_one(r, 'simple', 0, tiny, cbs=logger)
    rows = [*csv.DictReader((tmp_path/'log.csv').open())]
    assert [int(o['epoch']) for o in rows]==[0,1] and {'train_loss','valid_loss','accuracy'}<=rows[0].keys()
    assert [float(o['accuracy']) for o in rows]==pytest.approx([h['acc'] for h in run.history], abs=1e-6)
    plain = train_one(r, 'simple', 0, tiny)
    assert (run.history,run.correct,run.acc)==(plain.history,plain.correct,plain.acc)
    learn = get_learner(r, 'simple', 0, tiny, cbs=[CSVLogger(tmp_path/'other.csv')])
    assert any(type(o) is CSVLogger for o in learn.cbs)
    with learn.no_bar(): learn.fit(1, 1e-3)
    assert len((tmp_path/'other.csv').read_text().split())==2

def test_no_tracker_is_a_dependency():
    said = (ROOT/'pyproject.toml').read_text() + (ROOT/'constraints.txt').read_text()
    assert 'fastai' in said and not any(o in said for o in ('wandb','tensorboard','mlflow','comet'))

def test_a_users_class_trains_by_its_name_or_as_it_is(recipe, tiny):
    run = train_one(recipe, Variant('mine', Noisy), 0, tiny)
    assert run.variant['layer'].endswith(':Noisy') and run.variant['hash']==Variant('other', Noisy).hash

def test_an_unknown_recipe_or_variant_is_an_error(recipe, tiny):
    with pytest.raises(CliError, match="'nothing'"): get_learner('nothing')
    with pytest.raises(CliError, match="'nothing'"): get_learner(recipe, 'nothing', 0, tiny)

def test_the_published_recipe_makes_a_learner_for_the_real_images(woof):
    learn = get_learner(load_recipes(ROOT/'settings.ini')['woof-128-5'], 'simple', 0, woof)
    x,y = learn.dls.one_batch()
    assert x.shape==(64,3,128,128) and learn.dls.c==10 and len(learn.dls.train)==200//64

@pytest.mark.parametrize('split', ['v2','v1','tune'])
def test_real_images_train(recipe, woof, split):
    run = train_one(derive(recipe, dataset='imagewoof', source='160', presize=40, split=split, bs=32), 'simple', 0, woof)
    assert run.data['n_val']=={'v2':100,'v1':60,'tune':40}[split]==run.n_images

# ---- the demo

def test_the_demo_stays_within_its_image_passes(embedded):
    r,n = load_recipes(ROOT/'settings.ini')['demo'], len(list_images(get_path('shapes', 'full')))
    assert (r.size,r.precision,r.dataset)==(32,'float32','shapes') and n*r.epochs<=5000

@pytest.mark.slow
def test_the_demo_is_neither_at_chance_nor_saturated():
    accs = [train_one(load_recipes(ROOT/'settings.ini')['demo'], 'baseline', s).acc for s in (0,1)]
    assert all(chance_limit(6, 400)+.05 < a < .9 for a in accs), accs

@pytest.mark.parametrize('variant',
    ['baseline','simple',Variant('local', 'simpleattn.local:LocalSelfAttention', 'replace:4', dict(window=3, heads=2)),'timm-halo'], ids=str)
def test_an_exported_learner_loads_and_gives_the_same(tmp_path, recipe, tiny, variant):
    from fastai.learner import load_learner
    import pickle
    learn = get_learner(recipe, variant, data=tiny, device='cpu')
    learn.export(tmp_path/'learner.pkl')
    back = load_learner(tmp_path/'learner.pkl', pickle_module=pickle)
    x = torch.randn(2,3,32,32)
    assert torch.equal(learn.model.eval()(x), back.model.eval()(x)) and list(back.dls.vocab)==list(learn.dls.vocab)
    assert len(back.dls.train_ds)==0 and (tmp_path/'learner.pkl').stat().st_size<30*2**20

def test_a_run_without_a_device_is_made_on_the_one_of_its_env(recipe, tiny, monkeypatch):
    "fastai's own choice may be a third, as on an Apple laptop"
    import simpleattn.data as data
    monkeypatch.setattr(data, 'default_device', lambda: pytest.fail('fastai was asked'))
    assert train_one(recipe, 'baseline', 0, tiny).env.startswith('cpu-')

class Meanwhile(Callback):
    "Does something to the folder of images while a run trains"
    observes = True
    def __init__(self, do): self.do = do
    def after_fit(self): self.do()

@pytest.mark.parametrize('what', ['a file joins','a file changes','the folder goes'])
def test_a_record_names_the_images_that_it_was_trained_on(recipe, tiny, tmp_path, what):
    images = shutil.copytree(tiny, tmp_path/'tiny')
    want = train_one(recipe, 'baseline', 0, images)
    file = next((images/'train').rglob('*.*'))
    do = {'a file joins':lambda: shutil.copy(file, file.with_name('new.png')), 'a file changes':lambda: file.write_bytes(b'of another size'),
        'the folder goes':lambda: shutil.rmtree(images)}[what]
    run = train_one(recipe, 'baseline', 0, images, cbs=[Meanwhile(do)])
    assert run.data==want.data and run.weights==want.weights

@pytest.mark.parametrize('name,says', [('', 'this torch cannot use it'), ('NVIDIA H200 MIG 1g.18gb', 'nvidia-h200-torch.*nvidia-h200-mig-1g-18gb-torch'), ('NVIDIA H200', None)])
def test_a_gpu_that_torch_does_not_see_as_nvidia_smi_does_trains_nothing(recipe, tiny, monkeypatch, name, says):
    import simpleattn.runs as runs, simpleattn.train as train
    monkeypatch.setattr(runs, 'gpus_here', lambda: ['0'])
    monkeypatch.setattr(runs, '_nvidia', lambda what: ['0, GPU-1, NVIDIA H200'])
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: bool(name))
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda device: name)
    class Began(Exception): pass
    def begins(*args, **kwargs): raise Began
    monkeypatch.setattr(train, '_learner_of', begins)
    monkeypatch.setattr(train, '_as_it_was', lambda on_cpu: nullcontext())
    with pytest.raises(CliError if says else Began, match=says): train_one(recipe, 'baseline', 0, tiny)
