"""Every variant of the registry is paired with the baseline: the same batches, and the same initial tensors wherever both have one"""
import json,random,re
import numpy as np, pytest, torch
from fastai.vision.models.xresnet import xresnet18
from torch import nn
from simpleattn.models import insert_attention
from simpleattn.recipes import derive
from simpleattn.train import fit_recipe,get_learner
from simpleattn.variants import get_variant,variants
from test_train import Seen

def begun(recipe, data, variant, seed=5, loaders=0):
    "Initial tensors by name, and digests of all batches of an epoch"
    cb = Seen()
    learn = get_learner(recipe, variant, seed, data, loaders, 'cpu', cbs=cb)
    start = {k:t.clone() for k,t in learn.model.state_dict().items()}
    with learn.no_bar(), learn.no_logging(): fit_recipe(learn, recipe)
    return start, cb.digests

@pytest.fixture(scope='module')
def wide(recipe): return derive(recipe, mixup=.2, bs=16, widen=.25, stem=(16,32,64)) # eight heads need channels

@pytest.fixture(scope='module')
def base(wide, tiny): return {n:begun(wide, tiny, 'baseline', loaders=n) for n in (0,2)}

QUICK = {'self','simple','ladder-one-matrix','sasa','attention-stem','botnet-s1','timm-se'} # one of each kind; the rest in `make test-slow`
CASES = [pytest.param(v, n, marks=[] if v in QUICK and n==0 else pytest.mark.slow) for v in variants()[1:] for n in (0,2)]

@pytest.mark.parametrize('variant,loaders', CASES)
def test_all_batches_and_all_shared_tensors_are_the_baselines(base, wide, tiny, variant, loaders):
    (start,digests),(ours,seen) = base[loaders], begun(wide, tiny, variant, loaders=loaders)
    assert seen==digests==base[0][1] and len(set(seen))==len(seen)==3
    gone,site = {k:t for k,t in start.items() if k not in ours}, json.dumps(get_variant(variant).to_dict())
    stem = '"stem' in site
    if re.fullmatch(r'[\d.,+-]+', get_variant(variant).site) and not stem: assert not gone, 'an inserted layer leaves every tensor of the backbone'
    assert all(t.dim()==4 or stem and k[:2] in ('0.','1.','2.') for k,t in gone.items()), 'only convolutions that were replaced, or the stem, are gone'
    shared = [k for k in start if k in ours]
    assert len(shared)>20 and all(torch.equal(start[k], ours[k]) for k in shared)

@pytest.mark.parametrize('variant', ['baseline','simple'])
def test_another_seed_shares_no_batch_and_no_drawn_tensor(base, wide, tiny, variant):
    (start,digests),(ours,seen) = base[0], begun(wide, tiny, variant, seed=6)
    assert not set(seen) & set(digests)
    drawn = [k for k,t in start.items() if t.is_floating_point() and t.numel()>1 and t.std()>0]
    assert len(drawn)>=20 and not any(torch.equal(start[k], ours[k]) for k in drawn)

# ---- a layer that draws elsewhere than from torch, or later than in `__init__`

class Lazy(nn.Module):
    def __init__(self, ni): super().__init__(); self.conv,self.gamma = nn.LazyConv2d(ni, 1),nn.Parameter(torch.ones(1))
    def forward(self, x): return x+self.gamma*self.conv(x)

class AtFirstImage(nn.Module):
    def __init__(self, ni): super().__init__(); self.scale = None
    def forward(self, x):
        if self.scale is None: self.scale = nn.Parameter(torch.randn(x.shape[1], 1, 1))
        return x*self.scale

class FromNumpy(nn.Module):
    def __init__(self, ni): super().__init__(); self.scale = nn.Parameter(torch.tensor(np.random.normal(size=(ni,1,1))).float())
    def forward(self, x): return x*self.scale

class FromPython(nn.Module):
    def __init__(self, ni): super().__init__(); self.scale = nn.Parameter(torch.tensor(random.random()))
    def forward(self, x): return x*self.scale

@pytest.mark.parametrize('layer', [Lazy,AtFirstImage,FromNumpy,FromPython])
def test_weights_of_a_layer_follow_the_seed_wherever_they_are_drawn(layer):
    def weights(seed, before):
        for set_to in (torch.manual_seed, np.random.seed, random.seed): set_to(before)
        model = insert_attention(xresnet18(n_out=3), layer, seed=seed)
        drawn = [torch.rand(1).item(),np.random.rand(),random.random()]
        return torch.cat([p.flatten() for m in model.modules() if isinstance(m, layer) for p in m.parameters()]), drawn
    one,drawn = weights(0, 5)
    other,_ = weights(0, 6)
    third,_ = weights(1, 5)
    assert torch.equal(one, other) and not torch.equal(one, third)
    for set_to in (torch.manual_seed, np.random.seed, random.seed): set_to(5)
    xresnet18(n_out=3)
    assert drawn==[torch.rand(1).item(),np.random.rand(),random.random()], 'generators go on where they were'

def test_what_a_layer_draws_from_numpy_and_python_in_training_follows_the_seed():
    from types import SimpleNamespace
    from simpleattn.train import PairedStreams
    def drawn(seed, batch):
        streams = PairedStreams(seed)
        streams.learn,streams.start = SimpleNamespace(epoch=0, iter=batch),0
        streams.before_batch()
        return torch.rand(1).item(),np.random.rand(),random.random()
    assert drawn(0, 3)==drawn(0, 3)
    assert all(a!=b for other in (drawn(0, 4),drawn(1, 3)) for a,b in zip(drawn(0, 3), other))

def test_training_leaves_the_generators_of_numpy_and_python_as_they_were():
    from simpleattn.models import seed_others
    from simpleattn.train import _as_it_was
    np.random.seed(5); random.seed(5); torch.manual_seed(5)
    with _as_it_was(True): seed_others(7); torch.manual_seed(7)
    after = np.random.rand(),random.random(),torch.rand(1).item()
    np.random.seed(5); random.seed(5); torch.manual_seed(5)
    assert after==(np.random.rand(),random.random(),torch.rand(1).item())
