"""What a pixel attends to is what the layer did; what is shown of a result is short"""
import re
from html import unescape
import matplotlib.pyplot as plt,numpy as np,pytest,torch
from PIL import Image
from fastcore.script import CliError
from conftest import ROOT
from simpleattn.models import attention_at,attention_layers,create_model
from simpleattn.plots import show_attention
from simpleattn.recipes import Recipe,load_recipes
from simpleattn.runs import find_runs
from simpleattn.study import load_study
from simpleattn.train import get_learner
from simpleattn.variants import Variant

SMALL = dict(widen=.25, stem=(16,16,64))
KINDS = ['self','simple','symmetric','sasa-window3','sasa','sasa-absolute','botnet','botnet-none','botnet-source']

def on(m):
    "Nothing that starts at 0 hides the rest"
    g = torch.Generator().manual_seed(0)
    for k,p in m.named_parameters():
        if k.endswith('gamma'): p.data.fill_(.7)
        elif p.dim()==1 and not p.any(): p.data.normal_(generator=g)
    return m

def model(variant, size=64): return on(create_model('xresnet18', variant, 6, size, seed=0, **SMALL))

def passes(l, m, x):
    "What a layer gets and gives when the network sees an image"
    seen = {}
    h = l.register_forward_hook(lambda l,i,o: seen.update(i=i[0].detach(), o=o.detach()))
    try:
        with torch.no_grad(): m.eval()(x)
    finally: h.remove()
    return seen['i'],seen['o']

def values(l, f):
    "(heads, d, H, W): what the layer weighs, at every place of its map"
    v = l.value(f).detach()[0].unflatten(0, (l.heads,-1)) if l.traits['local'] else l.values(f)[0].unflatten(-1, f.shape[2:])
    return v if v.dim()==4 else v[None]

@pytest.mark.parametrize('layer', [0,-1])
@pytest.mark.parametrize('variant', KINDS)
def test_the_weights_of_a_pixel_make_the_output_of_its_place(variant, layer):
    "The picture's numbers, times the values at every place of the whole map, are the layer's output there: head by head"
    m,x = model(variant), torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    l = list(attention_layers(m).values())[layer]
    f,out = passes(l, m, x)
    H,W = f.shape[2:]
    v = values(l, f)
    for pixel in ((0,0),(63,63),(20,41)):
        i,j = pixel[0]*H//64, pixel[1]*W//64
        w = torch.stack([attention_at(m, x, pixel, layer, h if len(v)>1 else None) for h in range(len(v))])
        assert w.shape==(len(v),H,W)
        o = torch.einsum('hyx,hdyx->hd', w, v).flatten()
        want = (out-f)[0,:,i,j]/.7 if l.traits['residual'] else out[0,:,i,j]
        assert (o-want).abs().max()<1e-4*want.abs().max()
        assert torch.allclose(attention_at(m, x, pixel, layer), w.mean(0), atol=1e-6)

@pytest.mark.parametrize('variant', KINDS+['attention-stem','attention-stem-conv'])
def test_the_weights_are_the_row_of_the_layers_map(variant):
    m,x = model(variant), torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    l = next(iter(attention_layers(m).values()))
    f,_ = passes(l, m, x)
    i,j = 20*f.shape[2]//64, 41*f.shape[3]//64
    row = l.attention_map(f)[0][...,i*f.shape[3]+j,:]
    row = row.mean(0) if row.dim()>1 else row
    w = attention_at(m, x, (20,41))
    if not l.traits['local']: assert torch.equal(w.flatten(), row)
    else:
        at = w.nonzero()
        block = getattr(getattr(l, 'attend', None), 'block', None)
        assert torch.allclose(w[w!=0].sort().values, row[row!=0].sort().values)
        assert all((y//block,z//block)==(i//block,j//block) if block else max(abs(y-i),abs(z-j))<=l.window//2 for y,z in at.tolist())
    if l.traits['normalised']: assert w.sum()==pytest.approx(1, abs=1e-5)

def test_looking_changes_nothing():
    m = model('simple').train()
    before = {k:t.clone() for k,t in m.state_dict().items()}
    attention_at(m, torch.randn(1,3,64,64), (3,3))
    assert m.training and all(torch.equal(t, before[k]) for k,t in m.state_dict().items())
    assert all(not l._forward_pre_hooks for l in attention_layers(m).values())

# ---- the picture

@pytest.fixture(scope='module')
def learners(recipe, tiny):
    made = {}
    def get(v):
        if str(v) not in made: made[str(v)] = get_learner(recipe, v, 0, tiny, device='cpu'); on(made[str(v)].model)
        return made[str(v)]
    return get

LOCAL = Variant('local', 'simpleattn.local:LocalSelfAttention', 'replace:4', dict(window=3, heads=2))

@pytest.mark.parametrize('variant', ['self','simple',LOCAL,'botnet'], ids=str)
def test_the_picture_shows_the_weights_of_its_pixel(learners, variant):
    learn = learners(variant)
    dl = learn.dls.valid.new(shuffle=False)
    x = next(iter(dl))[0][3:4] # as validation gives it to the network
    ax = show_attention(learn, 3, (4,30))
    below,above = ax.images
    w = np.asarray(above.get_array())
    assert np.allclose(w, attention_at(learn.model, torch.Tensor(x), (4,30)).numpy(), atol=1e-6)
    assert list(below.get_extent())==list(above.get_extent())==[0,32,32,0] and np.array_equal(below.get_array(),
        learn.dls.valid_ds[3][0].permute(1,2,0).numpy())
    assert tuple(ax.lines[0].get_xydata()[0])==(30.5,4.5) # a pixel is drawn from its number to the next
    lo,hi = above.get_clim()
    assert (lo==-hi if (w<0).any() else lo==0) and hi>=abs(w).max()
    plt.close('all')

def test_an_image_may_be_a_number_a_path_a_picture_or_bytes(learners, tmp_path):
    learn = learners('self')
    x = learn.dls.valid_ds[5][0]
    im = Image.fromarray(np.random.default_rng(0).integers(0, 255, (50,60,3), dtype=np.uint8))
    im.save(tmp_path/'a.png')
    def drawn(image): return np.asarray(show_attention(learn, image).images[1].get_array())
    number,picture = drawn(5),drawn(im)
    assert not np.array_equal(number, picture)
    for o in (np.int64(5), torch.as_tensor(x)): assert np.array_equal(drawn(o), number)
    for o in (tmp_path/'a.png', str(tmp_path/'a.png'), np.asarray(im)): assert np.array_equal(drawn(o), picture)
    plt.close('all')

def test_axes_that_are_given_are_drawn_on_and_the_middle_is_asked_by_default(learners):
    ax = plt.subplots()[1]
    assert show_attention(learners('self'), 0, ax=ax) is ax and tuple(ax.lines[0].get_xydata()[0])==(16.5,16.5)
    for corner in ((0,0), np.array([0,0]), torch.tensor([0,0])):
        assert tuple(show_attention(learners('self'), 0, corner).lines[0].get_xydata()[0])==(.5,.5)
    plt.close('all')

@pytest.mark.parametrize('variant,kw,says',
    [('baseline',{},'no layer whose attention'), ('self',dict(position=(32,0)),r'\(32, 0\) is not in the image of 32 x 32'),
    ('self',dict(position=(0,-1)),'not in the image'), ('self',dict(layer=1),'no attention layer 1'), ('botnet',dict(head=4),'no head 4'), ('self',dict(head=7),'no head 7: there are 1')])
def test_what_cannot_be_drawn_is_a_sentence(learners, variant, kw, says):
    with pytest.raises(CliError, match=says): show_attention(learners(variant), 0, **kw)
    plt.close('all')

# ---- short displays

def shows(o):
    "All forms in which a notebook may show an object, as lines that are read"
    forms = [repr(o)] + [getattr(o, k)() for k in ('_repr_markdown_','_repr_html_') if hasattr(o, k)]
    return [len(re.findall('<tr>', s)) if '<table' in s else len(s.strip().split('\n')) for s in forms]

@pytest.mark.parametrize('name', ['woof-cpu','demo','gate','demo-sasa-botnet'])
def test_a_study_its_comparisons_and_its_runs_are_shown_in_ten_lines(name):
    study = load_study(name, ROOT/'runs')
    cs = study.compare()
    run = find_runs(ROOT/'runs', 'woof-cpu')[0][0]
    for o in (study, cs, *cs, run): assert all(0<n<=10 for n in shows(o)) and max(map(len, repr(o).split('\n')))<300, repr(o)
    assert hasattr(cs, '_repr_html_') and all(f'{100*c.diff:+.2f}' in cs._repr_html_() for c in cs)

@pytest.mark.parametrize('name', ['demo','woof-128-5','cifar10-100'])
def test_a_recipe_is_shown_in_ten_lines_with_all_that_it_says(name):
    recipes = load_recipes(ROOT/'settings.ini')
    r,html = recipes[name], recipes[name]._repr_html_()
    assert all(0<n<=10 for n in shows(r)+shows(recipes)) and len(repr(recipes))<300
    said = unescape(re.sub('<.*?>', ' ', html))
    assert all(f'{k} {v}' in said for k,v in ((k,getattr(r,k)) for k in r.to_dict() if k!='name')) and r.name in said and r.hash in said
    assert {re.match(r'\w+', o)[0] for o in re.findall('<b>(.*?)</b>', html)[1:]}==r.changed().keys()

def test_a_recipes_values_are_escaped(): assert '<i>' not in Recipe('a', dataset='<i>x')._repr_html_()

def test_a_layer_of_ones_own_needs_no_traits_to_be_read():
    class Own(torch.nn.Module):
        def __init__(self, ni): super().__init__()
        def forward(self, x): return x
        def attention_map(self, x): return torch.full((len(x),1,x[0,0].numel(),x[0,0].numel()), 1/x[0,0].numel())
    m = torch.nn.Sequential(torch.nn.Conv2d(3,4,3,padding=1), Own(4))
    w = attention_at(m, torch.randn(1,3,8,8), (1,2))
    assert w.shape==(8,8) and torch.allclose(w.sum(), torch.tensor(1.))
