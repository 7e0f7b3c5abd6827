"""Every variant of the registry is paired with the baseline: the same batches, and the same initial tensors wherever both have one"""
import json,re
import pytest,torch
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
