"""Every variant of the registry is paired with the baseline: the same batches, and the same initial tensors wherever both have one"""
import pytest,torch
from fastai.callback.core import Callback,CancelFitException
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
def base(recipe, tiny): return {n:begun(derive(recipe, mixup=.2), tiny, 'baseline', loaders=n) for n in (0,2)}

@pytest.mark.parametrize('loaders', [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize('variant', variants()[1:])
def test_all_batches_and_all_shared_tensors_are_the_baselines(base, recipe, tiny, variant, loaders):
    (start,digests),(ours,seen) = base[loaders], begun(derive(recipe, mixup=.2), tiny, variant, loaders=loaders)
    assert seen==digests==base[0][1] and len(set(seen))==len(seen)==6
    if get_variant(variant).site.startswith('replace'): gone = {k for k in start if k not in ours}; assert gone and all('conv' in k or k.endswith('weight') for k in gone)
    else: assert start.keys()<=ours.keys(), 'none unmatched'
    shared = [k for k in start if k in ours]
    assert len(shared)>20 and all(torch.equal(start[k], ours[k]) for k in shared)

@pytest.mark.parametrize('variant', ['baseline','simple'])
def test_another_seed_shares_no_batch_and_no_drawn_tensor(base, recipe, tiny, variant):
    (start,digests),(ours,seen) = base[0], begun(derive(recipe, mixup=.2), tiny, variant, seed=6)
    assert not set(seen) & set(digests)
    drawn = [k for k,t in start.items() if t.is_floating_point() and t.numel()>1 and t.std()>0]
    assert len(drawn)>=20 and not any(torch.equal(start[k], ours[k]) for k in drawn)
