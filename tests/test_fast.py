"""The fast paths are the plain ones: optimisers, metrics, compiled networks, images on the device"""
import copy,dataclasses,os
import numpy as np, pytest, torch
from PIL import Image
from torch import nn
from fastai.callback.core import Callback
from fastai.learner import AvgLoss,AvgMetric,AvgSmoothLoss
from fastai.optimizer import Adam,RAdam,SGD,ranger
from fastai.test_utils import synth_learner
from simpleattn import data,train
from simpleattn.data import CroppedImages,DecodedImages
from simpleattn.optimisers import ForeachOptimizer,PublishedAdam,foreach,opt_func
from simpleattn.recipes import Recipe,choices
from simpleattn.train import KeepOnDevice,MiddleOfKernels,fit_recipe,get_learner,train_one,weights_hash

def trained(make, many, steps=12, groups=False):
    torch.manual_seed(0)
    m = nn.Sequential(nn.Linear(9,8,bias=False), nn.BatchNorm1d(8), nn.Linear(8,8), nn.Linear(8,3)) # a bias before the norm would have no gradient but rounding
    ps = list(m.parameters())
    opt = make([ps[:2],ps[2:]] if groups else ps)
    opt = foreach(opt, True) if many else opt
    for p in m[1].parameters(): opt.state[p]['do_wd'] = False
    for i in range(steps):
        opt.set_hyper('lr', .1/(i+1))
        y = m[:2](torch.randn(16,9)) if i<3 else m(torch.randn(16,9)) # the last layers join later: their steps lag behind
        nn.functional.cross_entropy(y, torch.arange(16)%3).backward()
        opt.step(); opt.zero_grad()
    return m,opt

OPTS = dict(adam=lambda p: Adam(p, lr=.1, wd=.1), published=lambda p: PublishedAdam(p, lr=.1, wd=.1), published_l2=lambda p: PublishedAdam(p, lr=.1, wd=.1, decouple_wd=False),
    l2=lambda p: Adam(p, lr=.1, wd=.1, decouple_wd=False), radam=lambda p: RAdam(p, lr=.1, wd=.1), softplus=lambda p: RAdam(p, lr=.1, beta=2.),
    ranger=lambda p: ranger(p, lr=.1, wd=.1), sgd=lambda p: SGD(p, lr=.1, mom=.9, wd=.1))

@pytest.mark.parametrize('groups', [False,True], ids=['one','groups'])
@pytest.mark.parametrize('name', OPTS)
def test_many_tensors_at_once_are_stepped_as_one_by_one(name, groups):
    (a,oa),(b,ob) = (trained(OPTS[name], o, groups=groups) for o in (False,True))
    assert type(getattr(ob, 'opt', ob)) is ForeachOptimizer
    def same(x, y): return torch.allclose(x, y, rtol=1e-5, atol=1e-6) if name in ('adam','published') else torch.equal(x, y) # AdamW's one kernel rounds in another order
    for p,q in zip(a.parameters(), b.parameters()): assert same(p, q)
    for s,t in zip(oa.state_dict()['state'], ob.state_dict()['state']):
        assert s.keys()==t.keys() and all(same(s[k], t[k]) if isinstance(s[k], torch.Tensor) else s[k]==t[k] for k in s)

@pytest.mark.parametrize('n_in,copies', [(16,False), (5,True)])
def test_adam_steps_to_the_bit_over_weights_with_their_channels_last_and_copies_none_that_fill_vectors(n_in, copies):
    def stepped(memory_format):
        torch.manual_seed(0)
        conv = nn.Conv2d(n_in, 6, 3).to(memory_format=memory_format)
        opt = foreach(Adam(list(conv.parameters()), lr=.1, wd=.1))
        for _ in range(3):
            for p in conv.parameters(): p.grad = torch.empty_like(p).copy_(torch.randn(p.shape))
            with torch.profiler.profile() as watched: opt.step()
        return conv.weight, {o.key for o in watched.key_averages()}
    (contiguous,_),(last,did) = map(stepped, (torch.contiguous_format, torch.channels_last))
    assert not last.is_contiguous() and torch.equal(contiguous, last)
    assert 'aten::_fused_adamw_' in did and ('aten::clone' in did)==copies

def test_an_optimiser_without_such_a_form_stays_as_it_is(recipe):
    for name in choices['opt']:
        opt = opt_func(dataclasses.replace(recipe, opt=name))([nn.Parameter(torch.ones(2))], lr=.1)
        inner = lambda o: type(getattr(o, 'opt', o))
        assert (inner(opt) is ForeachOptimizer)==(name in ('adam','adam-published')) # on a CPU the others are faster one by one
        assert (inner(foreach(opt, True)) is ForeachOptimizer)==(name in ('adam','adam-published','radam','ranger','sgd')), name

def test_a_checkpoint_of_one_form_goes_on_in_the_other():
    (a,oa),(b,ob) = (trained(OPTS['adam'], o) for o in (False,True))
    state = copy.deepcopy(oa.state_dict())
    ob.load_state_dict(state)
    assert all(ob.state[p]['step']==oa.state[q]['step'] for p,q in zip(b.parameters(), a.parameters()))

# ---- maps of one pixel

has_amx = 'amx_bf16' in (open('/proc/cpuinfo').read() if os.path.exists('/proc/cpuinfo') else '')

class Sizes(Callback):
    "The kernels that convolve the maps of one pixel, while a fit runs"
    def before_fit(self): self.used = set()
    def before_batch(self):
        if self.iter or not self.training: return
        self.hooks = [o.register_forward_hook(self.note) for o in self.model.modules() if isinstance(o, nn.Conv2d)]
    def note(self, conv, x, _):
        if x[0].shape[-2:]==(1,1): self.used.add((conv.kernel_size, '_conv_forward' in vars(conv)))
    def after_batch(self):
        for o in self.hooks: o.remove()
        self.hooks = []

@pytest.mark.skipif(has_amx, reason='how a processor with AMX adds up was not seen')
def test_in_bfloat16_a_map_of_one_pixel_is_convolved_to_the_bit_with_the_middle_of_a_kernel(recipe, tiny):
    r = dataclasses.replace(recipe, epochs=2, backbone='xresnet18', widen=.5, size=32, precision='bfloat16')
    plain,ours = (get_learner(r, 'simple', 1, tiny, device='cpu', cbs=Sizes()) for _ in range(2))
    plain.remove_cb(MiddleOfKernels)
    for learn in (plain, ours):
        with learn.no_bar(), learn.no_logging(): fit_recipe(learn, r)
    assert plain.sizes.used=={((3,3),False), ((1,1),False)} and ours.sizes.used=={((3,3),True), ((1,1),False)}
    in_float32 = get_learner(dataclasses.replace(r, precision='float32'), 'simple', 1, tiny, device='cpu')
    assert MiddleOfKernels not in map(type, in_float32.cbs)
    assert weights_hash(plain.model)==weights_hash(ours.model) and plain.recorder.values==ours.recorder.values
    assert not any('_conv_forward' in vars(o) for o in ours.model.modules()), 'the network is as it was'

@pytest.mark.parametrize('how', [dict(padding=1, stride=2), dict(kernel_size=5, padding=4, dilation=2), dict(kernel_size=(1,3), padding=(0,1), bias=False), dict(padding=2), dict(padding=0), dict(padding=1, groups=2),
    dict(kernel_size=2, padding=1), dict(kernel_size=1), dict(padding='same'), dict(padding=1, padding_mode='circular'), dict(in_channels=8, padding=1)], ids=str)
def test_any_convolution_of_a_fit_gives_what_it_gives_alone(how):
    torch.manual_seed(0)
    conv = nn.Conv2d(**dict(in_channels=64, out_channels=6, kernel_size=3) | how)
    maps = [torch.randn(3, conv.in_channels, n, n) for n in (1,2,5) if how.get('padding')!=0 or n>=3]
    def result(x):
        y = conv(x)
        return y, *torch.autograd.grad(y.square().sum(), conv.parameters())
    def results(): return [o for x in maps for o in result(x)]
    learn = synth_learner()
    learn.model = nn.Sequential(conv)
    before,cb = results(), MiddleOfKernels()
    cb.learn = learn
    cb.before_fit()
    assert all(torch.allclose(a, b, atol=1e-5) for a,b in zip(before, results()))
    cb.before_fit() # an interrupted fit left it
    cb.after_fit()
    assert all(map(torch.equal, before, results())) and '_conv_forward' not in vars(conv)

def test_losses_and_accuracies_are_those_of_fastai(recipe, tiny):
    "Also where the epoch's last batch is a short one"
    r = dataclasses.replace(recipe, epochs=2)
    ours = get_learner(r, 'simple', 1, tiny, device='cpu')
    plain = get_learner(r, 'simple', 1, tiny, device='cpu')
    plain.remove_cb(KeepOnDevice)
    plain.metrics = [AvgMetric(plain.metrics[0].func)]
    for l in (ours, plain):
        with l.no_bar(), l.no_logging(): fit_recipe(l, r)
    assert type(ours.recorder.loss) is not AvgLoss is type(plain.recorder.loss) and type(plain.recorder.smooth_loss) is AvgSmoothLoss
    assert [list(o) for o in ours.recorder.values]==[list(o) for o in plain.recorder.values] and ours.recorder.metric_names==plain.recorder.metric_names
    assert [float(o) for o in ours.recorder.losses]==[float(o) for o in plain.recorder.losses] and len(ours.recorder.losses)==12

# ---- the whole set on the device

@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    "Noise is the hardest to resize: 24 images, wide and tall, one smaller than the crop"
    d,rng = tmp_path_factory.mktemp('pictures')/'set', np.random.default_rng(0)
    for i in range(24):
        f = d/('train' if i<16 else 'val')/'ab'[i%2]/f'{i}.png'
        f.parent.mkdir(parents=True, exist_ok=True)
        h,w = (20,37) if i==5 else (160,int(rng.integers(160,300))) if i%2 else (int(rng.integers(160,300)),160)
        Image.fromarray(rng.integers(0, 256, (h,w,3), dtype=np.uint8)).save(f)
    return DecodedImages(d)

@pytest.mark.parametrize('train', [True,False], ids=['train','valid'])
@pytest.mark.parametrize('kw', [dict(size=128), dict(size=32, val_extra=8), dict(size=192, crop_min=.08), dict(size=64, flip=False), dict(size=32, crop='pad'), dict(size=160, crop='pad', val_extra=0)], ids=str)
def test_a_batch_made_on_the_device_is_that_of_the_cpu(pictures, kw, train):
    "Within 2 of 255, nearly always within 1; here the device is a CPU too, so that the products are what is compared"
    r = Recipe('r', dataset='set', source='full', bs=8, **kw)
    a,b = (CroppedImages(pictures, pictures.files, list(range(24)), ['a','b'], r, 3, train) for _ in range(2))
    b.device = torch.device('cpu')
    for epoch,idxs in ((0,range(24)), (4,[7,3,5])):
        (x,y),(x2,y2) = a.batch(idxs, epoch), b.batch(idxs, epoch)
        d = (x.short()-x2.short()).abs()
        assert type(x) is type(x2) and x2.dtype==torch.uint8 and x.shape==x2.shape and torch.equal(y, y2)
        assert d.max()<=2 and (d>1).float().mean()<1e-3 and d.float().mean()<.1
    assert (a.batch([1], 0)[0]!=a.batch([1], 1)[0]).any()==train==bool((b.batch([1], 0)[0]!=b.batch([1], 1)[0]).any())

def test_validation_crops_are_made_once_for_all_seeds(pictures):
    r = Recipe('r', dataset='set', source='full', bs=8, size=64)
    a,b = (CroppedImages(pictures, pictures.files[16:], [0]*8, ['a'], r, s, False) for s in (0,1))
    a.device = b.device = torch.device('cpu')
    a.batch([0], 0); b.batch([0], 0)
    assert a._centers_on_device is b._centers_on_device and a._centers_on_device.shape==(8,3,64,64)

@pytest.mark.parametrize('crop', ['resized','pad'])
def test_no_order_of_a_sum_moves_a_pixel(pictures, crop, monkeypatch):
    "Crops are those of sums in float64, alone and among others"
    r = Recipe('r', dataset='set', source='full', bs=8, size=64, crop=crop)
    ds = CroppedImages(pictures, pictures.files, list(range(24)), ['a'], r, 3, True)
    ds.device = torch.device('cpu')
    whole = ds.batch(range(24), 1)[0]
    alone = torch.cat([ds.batch([i], 1)[0] for i in range(24)])
    einsum = torch.einsum
    monkeypatch.setattr(torch, 'einsum', lambda how,*args: einsum(how, *(o.double() for o in args)))
    assert torch.equal(whole, alone) and torch.equal(whole, ds.batch(range(24), 1)[0])

@pytest.mark.parametrize('crop', ['resized','pad'])
def test_large_images_are_cut_a_few_at_a_time(pictures, crop):
    r = Recipe('r', dataset='set', source='full', bs=8, size=64, crop=crop)
    ds = CroppedImages(pictures, pictures.files, list(range(24)), ['a'], r, 3, True)
    ds.device = torch.device('cpu')
    whole,cut = ds.batch(range(9), 1)[0],data.cut_on_device
    seen = []
    def small(imgs, rows, *args): seen.append(len(rows)); return cut(imgs, rows, *args)
    with pytest.MonkeyPatch.context() as mp:
        mp.setattr(data, 'cut_on_device', small)
        mp.setattr(data, '_most_pixels', 2**15)
        assert torch.equal(ds.batch(range(9), 1)[0], whole) and seen[0]==9 and 1 in seen

def test_a_short_batch_is_filled_up_in_the_format_of_the_others():
    import types
    cb = train.WholeBatches(8)
    x = torch.randn(3,3,8,8).to(memory_format=torch.channels_last)
    cb.learn = types.SimpleNamespace(xb=(x,), training=False)
    cb.before_batch()
    y = cb.learn.xb[0]
    assert y.shape==(8,3,8,8) and y.is_contiguous(memory_format=torch.channels_last) and torch.equal(y[:3], x) and torch.equal(y[6:], x[:2])

def test_a_run_with_images_on_the_device_is_of_another_pipeline(recipe, tiny, monkeypatch):
    "Its pixels may differ by one level, so it is never paired with a run of the CPU's crops"
    plain,get = train_one(recipe, 'simple', data=tiny, device='cpu'), train.get_dls
    def resident(*args):
        dls = get(*args)
        for dl in dls: dl.dataset.device = torch.device('cpu')
        return dls
    monkeypatch.setattr(train, 'get_dls', resident)
    run = train_one(recipe, 'simple', data=tiny, device='cpu')
    assert (plain.pipeline,run.pipeline)==(1,2) and run.n_images==plain.n_images and abs(run.history[0]['train_loss']-plain.history[0]['train_loss'])<.05

# ---- compiled once

def test_a_compiled_network_is_reused_with_fresh_weights_and_let_go_after_an_error(recipe, tiny, monkeypatch):
    "With a backend that traces and does not compile"
    calls = []
    monkeypatch.setattr(torch, 'compile', lambda f, **kw: calls.append(kw) or torch._dynamo.optimize('eager')(f))
    r = dataclasses.replace(recipe, compile=True)
    train.forget_compiled()
    plain = [train_one(recipe, 'baseline', s, tiny, device='cpu') for s in (0,1)]
    runs = [train_one(r, 'baseline', s, tiny, device='cpu') for s in (0,1,0)]
    assert len(calls)==1 and [o.weights for o in runs]==[plain[0].weights,plain[1].weights,plain[0].weights]
    assert runs[0].correct==plain[0].correct and runs[0].flops==plain[0].flops and r.hash!=recipe.hash
    a,b = (train_one(o, 'simple', 1, tiny, device='cpu').history[0] for o in (recipe,r))
    assert a['train_loss']==pytest.approx(b['train_loss'], rel=1e-5) and a['valid_loss']==pytest.approx(b['valid_loss'], rel=1e-5)
    assert len(calls)==2 and len(train._compiled)==2
    for variant in ('simple','baseline','simple'): train_one(r, variant, 2, tiny, device='cpu')
    assert len(calls)==2, 'arms in turn, each compiled once'
    monkeypatch.setattr(train, 'MOST_COMPILED', 2)
    train_one(r, 'symmetric', 0, tiny, device='cpu')
    assert len(calls)==3 and len(train._compiled)==1
    class Bad(train.Callback):
        def after_loss(self): raise RuntimeError('no')
    with pytest.raises(RuntimeError): train_one(r, 'simple', 1, tiny, device='cpu', cbs=Bad())
    assert not train._compiled

@pytest.mark.slow
@pytest.mark.parametrize('precision', ['float32','bfloat16'])
def test_compiled_in_earnest_a_run_is_the_plain_one(recipe, tiny, precision):
    "One set of graphs for two seeds; gradients as the plain network's"
    from torch._dynamo.utils import counters
    r = dataclasses.replace(recipe, precision=precision, compile=True)
    train.forget_compiled(); counters.clear()
    losses = lambda run: [h['train_loss'] for h in run.history]
    runs = [train_one(r, 'simple', s, tiny, device='cpu') for s in (0,1)]
    graphs = counters['stats']['unique_graphs']
    plain = [train_one(dataclasses.replace(r, compile=False), 'simple', s, tiny, device='cpu') for s in (0,1)]
    for a,b in zip(runs, plain): assert losses(a)==pytest.approx(losses(b), rel=.02 if precision=='bfloat16' else 1e-4)
    assert runs[0].weights!=runs[1].weights and graphs<=4, counters['graph_break']
    train.forget_compiled()

def test_every_network_of_a_process_is_compiled_not_the_first_eight(monkeypatch):
    "torch counts compilations by the code that is compiled, and after the eighth it runs that as it is written"
    from functools import partial
    from torch._dynamo.utils import counters
    monkeypatch.setattr(torch, 'compile', partial(torch.compile, backend='eager'))
    counters.clear()
    for n in range(3, 14):
        m = train.compiled_once(nn.Sequential(nn.Linear(n,2)))
        assert m(torch.randn(4,n)).shape==(4,2)
    assert counters['stats']['unique_graphs']==11
    torch.compiler.reset()
