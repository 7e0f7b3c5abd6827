"""On a GPU: every variant trains, layers and crops are those of the CPU, and a compiled arm is compiled once

CUDA_VISIBLE_DEVICES=0 python -m pytest tests/test_gpu.py. Without the variable the suite hides all GPUs from itself."""
import copy,dataclasses
import numpy as np, pytest, torch
from conftest import python
from simpleattn.data import CroppedImages,DecodedImages
from simpleattn.models import attention_layers,create_model
from simpleattn.study import Study
from simpleattn.train import train_one
from simpleattn.variants import variants

DEV = 'cuda'
pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU is here, or it is hidden: CUDA_VISIBLE_DEVICES=0 shows it')]

@pytest.mark.parametrize('variant', variants())
def test_every_variant_trains(recipe, tiny, variant):
    r = dataclasses.replace(recipe, widen=1., size=64, precision='bfloat16')
    run = train_one(r, variant, 0, tiny, device=DEV)
    assert run.status=='ok' and np.isfinite(run.history[0]['train_loss']) and run.pipeline==2 and not run.env.startswith('cpu')

@pytest.mark.parametrize('variant', ['self','simple','symmetric','sasa','botnet'])
def test_a_network_computes_what_it_computes_on_the_cpu_gradients_included(variant, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    a = create_model('resnet26', variant, 10, 64, 0)
    for l in attention_layers(a).values():
        if hasattr(l, 'gamma'): torch.nn.init.ones_(l.gamma)
    b,x = copy.deepcopy(a).to(DEV), torch.randn(4,3,64,64)
    for m,i in ((a,x),(b,x.to(DEV))): m(i).square().mean().backward()
    for p,q in zip(a.parameters(), b.parameters()): assert (p.grad-q.grad.cpu()).abs().max() <= 1e-3*p.grad.abs().max()+1e-6

@pytest.mark.parametrize('train', [True,False], ids=['train','valid'])
def test_crops_are_those_of_the_cpu(recipe, tiny, train):
    imgs = DecodedImages(tiny)
    a,b = (CroppedImages(imgs, imgs.files, list(range(len(imgs.files))), ['a'], recipe, 3, train) for _ in range(2))
    b.device = torch.device(DEV)
    (x,y),(x2,y2) = a.batch(range(16), 1),b.batch(range(16), 1)
    d = (x.short()-x2.cpu().short()).abs()
    assert d.max()<=2 and (d>1).float().mean()<1e-3 and torch.equal(y, y2.cpu())

def test_loader_processes_feed_the_gpu(recipe, tiny): assert train_one(recipe, 'simple', 0, tiny, 2, DEV).pipeline==1

def test_an_arm_is_compiled_once_and_is_the_plain_one(recipe, tiny):
    from torch._dynamo.utils import counters
    r = dataclasses.replace(recipe, compile=True)
    counters.clear()
    plain,runs = ([train_one(o, 'simple', s, tiny, device=DEV) for s in (0,1)] for o in (recipe,r))
    assert counters['stats']['unique_graphs']==2, 'one to train, one to validate'
    assert all(len(o.machine['lean'])==5 for o in runs) and not any('lean' in o.machine for o in plain)
    for p,o in zip(plain, runs): assert o.history[0]['train_loss']==pytest.approx(p.history[0]['train_loss'], rel=.02)

def test_a_study_on_the_gpu_in_workers_that_stay(recipe, tiny, tmp_path):
    s = Study('s', ['baseline','simple'], 3, recipe=recipe, root=tmp_path)
    s.run('local', 2, tiny, DEV, progress=False)
    assert s.missing()==[] and {*s.runs().env}=={s.env}

def test_the_candidates_for_local_attention_agree_with_the_layer():
    res = python("""
import sys; sys.path.insert(0, 'benchmarks')
import torch,local_forms
from simpleattn.local import LocalSelfAttention
layer,x = LocalSelfAttention(64).cuda(), torch.randn(2, 64, 16, 16, device='cuda', requires_grad=True)
for n in local_forms.FORMS: off,_ = local_forms.check(n, layer, x); print(n, off); assert off<1e-2, n""")
    assert res.returncode==0, res.stdout+res.stderr
