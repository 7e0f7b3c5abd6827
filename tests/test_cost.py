"""Parameters and FLOPs of the papers' networks are the papers', and what is measured is what was there"""
import functools
import pytest,torch
from torch import nn
from fastcore.script import CliError
from simpleattn.attention import SelfAttention
from simpleattn.bottleneck import MHSA2d
from simpleattn.local import AttentionStem
from simpleattn.models import attention_at,cost,create_model,insert_attention,measure_step,peak_memory
from simpleattn.published import published,published_arm
from simpleattn.variants import get_variant,parse_site

ROWS = published('cost')

@functools.lru_cache(maxsize=None)
def figures(backbone, variant, n_out, size):
    "Millions of parameters, billions of FLOPs; shapes alone are enough"
    with torch.device('meta'): m = create_model(backbone, variant, n_out, size)
    c = cost(m, size)
    return c['params']/1e6, c['flops']/1e9

def ident(r): return f"{r['model']}-{r['setting']}".replace(' ','_')

@pytest.mark.parametrize('row', [pytest.param(r, id=ident(r)) for r in ROWS])
def test_a_published_row_of_parameters_and_flops(row):
    assert row['params_m'] or row['flops_g']
    p,f = figures(*published_arm(row))
    if row['params_m']: assert abs(p-float(row['params_m']))<=.15
    if row['flops_g']: assert abs(f/float(row['flops_g'])-1)<=(.08 if '11x11' in row['setting'] else .05)

def test_the_table_is_whole_and_its_rows_are_different_networks():
    "A row that fell back to the baseline would show here"
    arms = {(r['model'],r['setting']):published_arm(r) for r in ROWS}
    assert len(ROWS)==38 and sum(bool(r['params_m']) for r in ROWS)==sum(bool(r['flops_g']) for r in ROWS)==30
    plain = {s for (_,s),(_,v,*_) in arms.items() if v=='baseline'}
    assert plain=={'baseline','conv groups 1,2,3,4; attention groups -'}
    groups = {s:v for (_,s),(_,v,*_) in arms.items() if 'groups' in s}
    for said,v in groups.items():
        digits = said.rpartition(' ')[2]
        want = [int(o) for o in digits.split(',')] if digits!='-' else []
        assert [o for o,_ in parse_site(get_variant(v).site)]==want if want else v=='baseline'
    for (_,s),(_,v,*_) in arms.items():
        if s.startswith('window'): assert get_variant(v).kwargs.get('window', 7)==int(s.rpartition('x')[2])

@pytest.mark.parametrize('backbone,variant,size,millions,digits',
    [('resnet50','baseline',224,23.5,1), ('resnet50','botnet-source',224,18.8,1), ('resnet50','botnet',224,18.8,1), ('resnet50','botnet-s1-source',224,18.8,1),
    ('resnet59','botnet-s1-source',224,27.5,1), ('resnet26-cifar','sasa',32,8.30,2), ('resnet38-cifar','sasa',32,12.1,1)])
def test_the_published_parameters_on_cifar10(backbone, variant, size, millions, digits):
    "As published, to the last digit or half of one more (the sources round up as well as down)"
    with torch.device('meta'): p = sum(o.numel() for o in create_model(backbone, variant, 10, size).parameters())/1e6
    assert abs(p-millions)<=1.01*10**-digits
    note = {f"{r['model']} {r['variant']}":r['note'] for r in published() if r['source'].endswith('PyTorch README')}
    name = {'baseline':'baseline','sasa':'sasa'}.get(variant, 'heads=1')
    model = backbone.removesuffix('-cifar').replace('resnet5','botnet-s1-5' if 's1' in variant else 'botnet5' if 'botnet' in variant else 'resnet5')
    assert note[f'{model} {name}'].partition('M')[0]==f'{millions:.{digits}f}'

# ---- the count

def tokens(size, of): return (size//of)**2

def test_flops_of_a_network_are_torchs_and_the_layers_formulas():
    "Replacing the last stage of a resnet26 takes one 3x3 convolution of 512 channels away and adds attention before its pooling"
    base,sasa,bot = (figures('resnet26', v, 10, 64)[1]*1e9 for v in ('baseline','sasa-4','botnet'))
    C,out,seen = 512,tokens(64, 32),tokens(64, 16)
    conv = 2*9*C*C*out
    assert sasa-base==pytest.approx(2*seen*(3*C*C + 3*49*C) - conv, abs=1)
    assert bot-base==pytest.approx(2*(3*C*C*seen + 3*C*seen*seen) - conv, abs=1)

@pytest.mark.parametrize('a,b,extra', [('sasa','sasa-none',1), ('sasa','sasa-qr',1), ('sasa-absolute','sasa-none',0)])
def test_what_an_option_adds_is_its_products_at_every_position_of_the_window(a, b, extra):
    "Borders in full: the smallest map, 7 positions wide, is no wider than the window"
    conv = [(1,64,56),(1,128,56),(1,128,28),(1,256,28),(3,256,14),(1,512,14)] # layers, channels, side of the map that attention sees in a resnet26
    diff = sum(n*2*s*s*49*c for n,c,s in conv)*extra + (sum(n*2*s*s*c*c for n,c,s in conv) if b=='sasa-qr' else 0)
    assert (figures('resnet26', a, 10, 224)[1]-figures('resnet26', b, 10, 224)[1])*1e9==pytest.approx(diff, abs=100)

@pytest.mark.parametrize('flops', [5, lambda self: 7, lambda self, x, y: 7], ids=['number','no arguments','others'])
def test_flops_that_somebody_elses_layer_means_otherwise_are_not_asked_for(flops):
    class Gate(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.conv = nn.Conv2d(n, n, 1)
        def forward(self, x): return x + self.conv(x)
    def flops_of(layer): return cost(insert_attention(create_model('xresnet18', size=64), layer, size=64), 64)['flops']
    assert flops_of(type('Other', (Gate,), dict(flops=flops)))==flops_of(Gate)

def test_flops_do_not_depend_on_the_kernel_the_device_or_the_mode():
    with torch.device('meta'): a = create_model('resnet26', 'botnet', 10, 64)
    b = create_model('resnet26', 'botnet', 10, 64, seed=0)
    assert cost(a, 64)==cost(b, 64)==cost(b.eval(), 64) and not b.training
    from torch.nn.attention import SDPBackend,sdpa_kernel
    with sdpa_kernel(SDPBackend.MATH): assert cost(b, 64)==cost(a, 64)

def test_a_stem_is_counted_once_and_by_its_formula():
    a,b = (figures('resnet26', v, 10, 64)[1]*1e9 for v in ('baseline','attention-stem'))
    conv = 2*3*64*49*32*32
    assert b-a==pytest.approx(2*64*64*(2*3*64 + 4*(3*64+64) + 3*16*64) - conv, abs=1)

def test_parameters_of_what_replaces_a_convolution():
    a,b = (figures('resnet26', v, 10, 64)[0]*1e6 for v in ('baseline','sasa-4'))
    assert b-a==pytest.approx(3*512*512 + 2*7*512//2 - 9*512*512, abs=.5)

class Calls(nn.Module):
    "A convolution, and attention layers that are called in an order"
    def __init__(self, layers, order): super().__init__(); self.conv,self.layers,self.order = nn.Conv2d(3, 16, 1),nn.ModuleList(layers),order
    def forward(self, x):
        x = self.conv(x)
        for k in self.order: x = self.layers[k](x)
        return x

def test_every_call_of_a_layer_counts_once():
    "Shared, called twice, never called, or the network itself"
    one,two = SelfAttention(16),SelfAttention(16)
    conv,each = 2*3*16*256,one.flops(256)
    for layers,order,calls in (([one],[0],1), ([one],[0,0],2), ([one,one],[0,1],2), ([one,two],[0,1],2), ([one,two],[1],1), ([one],[],0)):
        assert cost(Calls(layers, order), 16)['flops']==conv+calls*each
    assert cost(SelfAttention(3), 16)['flops']==SelfAttention(3).flops(256)
    stem = AttentionStem(3, 16)
    assert cost(stem, 16)['flops']==cost(nn.Sequential(stem), 16)['flops']==stem.flops(256)

def test_a_layer_that_no_image_goes_through_is_named():
    m = Calls([SelfAttention(16),SelfAttention(16)], [1])
    assert attention_at(m, torch.randn(1,3,4,4), (1,1), layer=1).shape==(4,4)
    with pytest.raises(CliError, match='Attention layer 0 is in the network, but no image goes through it'): attention_at(m, torch.randn(1,3,4,4), (1,1))

def frozen(m):
    "A network in training whose batch norms are not"
    for o in m.train().modules():
        if isinstance(o, nn.BatchNorm2d): o.eval()
    return m

def resnet(**kw):
    from torchvision.models import resnet18
    return resnet18(num_classes=3, **kw)

@pytest.mark.parametrize('look', [
    lambda m: cost(m, 32), lambda m: cost(m, 32, bs=2), lambda m: measure_step(m, 32, bs=2, repeats=1), lambda m: attention_at(m, torch.zeros(1,3,32,32), (0,0)),
    lambda m: insert_attention(m, functools.partial(MHSA2d, heads=1), '4.-1', size=64)], ids=['cost','cost-bs','measure_step','attention_at','insert'])
@pytest.mark.parametrize('mode', [frozen, nn.Module.train, nn.Module.eval], ids=['frozen','train','eval'])
def test_a_look_leaves_every_module_and_statistic_as_it_was(look, mode):
    m = insert_attention(mode(resnet()), SelfAttention)
    modes,held = {o:o.training for o in m.modules()},{b:b.clone() for b in m.buffers()}
    look(m)
    assert all(o.training==was for o,was in modes.items()) and all(torch.equal(b, was) for b,was in held.items())

@pytest.mark.parametrize('dtype', [torch.float64,torch.bfloat16], ids=str)
def test_what_is_counted_and_measured_has_the_networks_dtype(dtype):
    m = resnet().to(dtype)
    assert cost(m, 32)==cost(resnet(), 32) and cost(m, 32, bs=2)['ms']>0

@pytest.mark.parametrize('channels', [1,4])
def test_a_network_is_counted_with_images_of_its_own_channels(channels):
    from fastai.vision.models.xresnet import xresnet18
    for make in (lambda c: create_attention(xresnet18(c_in=c, n_out=3)), lambda c: stem_of(resnet(), c)):
        assert cost(make(channels), 32, bs=2)['flops']==cost(make(3), 32)['flops'] + (channels-3)*per_channel(make(3))

def create_attention(m): return insert_attention(m, functools.partial(MHSA2d, heads=1), '4.-1,4.0', size=32)

def stem_of(m, channels):
    m.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    return m

def per_channel(m):
    "FLOPs of the stem's first convolution for each channel of the image"
    first = next(o for o in m.modules() if isinstance(o, nn.Conv2d))
    return 2*first.out_channels*first.kernel_size[0]**2*16*16

# ---- the measure

def test_peak_memory_sees_what_was_held_at_once():
    def one(): x = torch.empty(10*2**20, dtype=torch.uint8); return x.shape
    def after(): one(); one(); one()
    def together(): x = torch.empty(10*2**20, dtype=torch.uint8); y = torch.empty(5*2**20, dtype=torch.uint8); return x,y
    mib = 2**20
    assert 10*mib<=peak_memory(one)<10.2*mib
    assert 10*mib<=peak_memory(after)<10.2*mib
    assert 15*mib<=peak_memory(together)<15.2*mib

def test_peak_memory_does_not_count_what_was_there_or_nothing():
    x = torch.zeros(20*2**20, dtype=torch.uint8)
    assert peak_memory(lambda: x.add_(1))<2**20
    assert peak_memory(lambda: None)==0
    assert peak_memory(lambda: x+1)>=20*2**20

class Holds(nn.Module):
    "Keeps 1 MiB an image for the backward pass, and waits"
    def __init__(self): super().__init__(); self.w = nn.Parameter(torch.ones(1))
    def forward(self, x):
        import time
        time.sleep(.02)
        return (self.w*torch.zeros(len(x), 2**18)).exp().mean(1)

def test_cost_with_a_batch_gives_the_time_and_memory_of_a_step():
    m = Holds()
    a,b = cost(m, 8),cost(m, 8, 4)
    assert set(a)=={'params','flops'} and set(b)=={'params','flops','ms','peak_mib'} and {k:b[k] for k in a}==a
    assert 20<=b['ms']<2000 and 4<=b['peak_mib']<=20 and cost(m, 8, 8)['peak_mib']==pytest.approx(2*b['peak_mib'], rel=.15)
    assert m.w.grad is None

def test_a_step_of_one_image_is_refused_with_a_sentence():
    "Batch norm over one position of one image has no variance; torch would say so from deep within"
    m = create_model('xresnet18', 'baseline', seed=0, widen=.125, stem=(8,8,64))
    for bs in (1,0,-3):
        with pytest.raises(CliError, match=f'bs = {bs}: batch norm needs at least 2 images'): measure_step(m, 32, bs)
        with pytest.raises(CliError, match='batch norm needs'): cost(m, 32, bs)

def test_a_measured_network():
    m = create_model('xresnet18', 'simple', seed=0, widen=.125, stem=(8,8,64))
    one,four = (measure_step(m, 32, n, repeats=2) for n in (2,8))
    assert 0<one['ms'] and 0<one['peak_mib']<four['peak_mib'] and all(p.grad is None for p in m.parameters())
    assert m.training
