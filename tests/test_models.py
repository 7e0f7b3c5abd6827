"""A backbone with a layer is the same backbone: same weights, same output at gamma = 0, and the layer where it is said to be"""
import copy,re
import pytest,torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from fastai.vision.models import xresnet
from fastcore.script import CliError
from simpleattn.attention import SelfAttention,SimpleSelfAttention
from simpleattn.models import backbones,blocks,cost,create_backbone,create_model,insert_attention
from simpleattn.variants import Variant,variants

QUICK = ['xresnet18','xresnet50','xse_resnet18','xresnext50']
PARAMS = [pytest.param(o, marks=() if o in QUICK else pytest.mark.slow) for o in backbones]
SMALL = dict(widen=.125, stem=(8,8,64))

def image(size=64, n=2): return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0))
def equal(a, b): return a.keys()==b.keys() and all(torch.equal(a[k], b[k]) for k in a)

class Conv(nn.Module):
    "A replacement layer of a user"
    def __init__(self, ni, nf, ks=1): super().__init__(); self.conv = nn.Conv2d(ni, nf, ks, padding=ks//2)
    def forward(self, x): return self.conv(x)

class Wide(nn.Module):
    "Gives twice the channels that it is given"
    def __init__(self, ni): super().__init__()
    def forward(self, x): return torch.cat([x,x], 1)

class OneTooMany(nn.Module):
    "Wants channels that nothing gives"
    def __init__(self, ni): super().__init__(); self.conv = nn.Conv2d(ni+1, ni, 1)
    def forward(self, x): return self.conv(x)

# ---- the backbone stays what it was

def test_the_backbones_are_fastais_xresnets():
    there = {o for o in dir(xresnet) if re.fullmatch('(xresnet|xse_resnet|xresnext|xse_resnext)(18|34|50|101|152)', o)}
    assert set(backbones)==there and len(there)>=17

@pytest.mark.parametrize('name', PARAMS)
def test_inserting_leaves_every_backbone_weight_and_the_output(name):
    plain = create_model(name, seed=3)
    for v in ('self','simple'):
        m = create_model(name, v, seed=3)
        sd,new = m.state_dict(), set(m.state_dict())-set(plain.state_dict())
        assert equal(plain.state_dict(), {k:t for k,t in sd.items() if k not in new})
        assert new and all('.convpath.' in k for k in new)
        with torch.no_grad(): assert torch.equal(m.eval()(image()), plain.eval()(image()))
        m.train()
        plain.train()

@pytest.mark.parametrize('name', PARAMS)
def test_the_backbone_is_fastais(name):
    torch.manual_seed(1); ours = create_backbone(name, 7, stem=(32,32,64))
    torch.manual_seed(1); theirs = getattr(xresnet, name)(n_out=7)
    assert equal(ours.state_dict(), theirs.state_dict()) and repr(ours)==repr(theirs)

def test_training_at_gamma_0_gives_the_backbones_output_and_gradients():
    plain,m = (create_model('xresnet18', v, seed=0, **SMALL).train() for v in ('baseline','simple'))
    a,b = plain(image(n=4)), m(image(n=4))
    assert torch.equal(a, b)
    a.square().sum().backward(); b.square().sum().backward()
    theirs = dict(m.named_parameters())
    assert all(torch.equal(p.grad, theirs[k].grad) for k,p in plain.named_parameters())

def test_gamma_leaves_0_after_the_zero_batch_norm_does():
    m = create_model('xresnet18', 'simple', seed=0, **SMALL).train()
    opt,gamma,seen = torch.optim.SGD(m.parameters(), .1), m.get_parameter('4.1.convpath.2.gamma'), []
    for _ in range(3):
        opt.zero_grad(); m(image(n=4)).square().sum().backward(); opt.step()
        seen.append(gamma.item())
    assert seen[0]==0 and seen[2]!=0

def test_a_seed_gives_the_same_weights_whatever_was_drawn_before():
    torch.manual_seed(1); a = create_model('xresnet18', 'self', seed=5, **SMALL).state_dict()
    torch.manual_seed(2); torch.rand(7); b = create_model('xresnet18', 'self', seed=5, **SMALL).state_dict()
    assert equal(a, b) and not equal(a, create_model('xresnet18', 'self', seed=6, **SMALL).state_dict())

def test_building_leaves_torchs_generator_as_it_was():
    torch.manual_seed(1); want = torch.rand(3)
    torch.manual_seed(1); create_model('xresnet18', 'simple', seed=5, **SMALL)
    assert torch.equal(torch.rand(3), want)

def test_layers_at_two_sites_have_weights_of_their_own():
    m = create_model('xresnet18', 'simple@1.-1+1.0', seed=0, **SMALL)
    a,b = (o.conv.weight for o in m.modules() if isinstance(o, SimpleSelfAttention))
    assert a.shape==b.shape and not torch.equal(a, b)

def test_other_layers_leave_a_layers_own_weights():
    "A layer's weights come from its place, not from how many were built before it"
    one,two = (create_model('xresnet18', v, seed=0, **SMALL) for v in ('simple@1.-1','simple@1.0+1.-1'))
    assert equal(blocks(one)[0][-1].state_dict(), blocks(two)[0][-1].state_dict())

# ---- where it goes

def test_the_default_site_is_where_fastai_puts_its_own():
    theirs = xresnet.xresnet18(n_out=10, sa=True)
    for p in theirs.modules():
        if isinstance(p, nn.BatchNorm2d): nn.init.uniform_(p.weight); nn.init.uniform_(p.bias)
    nn.init.constant_(next(p for k,p in theirs.named_parameters() if k.endswith('gamma')), .5)
    theirs.train()(image())
    ours = create_model('xresnet18', 'simple', stem=(32,32,64))
    ours.load_state_dict(theirs.state_dict(), strict=True)
    with torch.no_grad(): a,b = ours.eval()(image()), theirs.eval()(image())
    assert (a-b).abs().max()/b.abs().max() < 1e-5
    with torch.no_grad(): assert not torch.allclose(a, create_model('xresnet18', 'simple@2.-1', seed=0, stem=(32,32,64)).eval()(image()))
    mine = [k for k,o in ours.named_modules() if isinstance(o, SimpleSelfAttention)]
    assert mine==[k for k,o in theirs.named_modules() if type(o).__name__=='SimpleSelfAttention']==['4.1.convpath.2']

@pytest.mark.parametrize('name', ['xresnet18','xresnet50','xse_resnet18'])
def test_the_layer_stands_after_the_zero_batch_norm_and_before_the_addition(name):
    m = create_model(name, 'simple', **SMALL)
    block = blocks(m)[0][-1]
    assert isinstance(block.convpath[-1], SimpleSelfAttention)
    bn = [o for o in block.convpath[:-1].modules() if isinstance(o, nn.BatchNorm2d)][-1]
    assert (bn.weight==0).all() and bn.num_features==block.convpath[-1].n_channels

@pytest.mark.parametrize('site,where', {'1.-1':['4.1'], '1.0':['4.0'], '4.-1':['7.1'], '2.-2':['5.0'], '1.-1,2.-1':['4.1','5.1'], '4.0,4.1':['7.0','7.1']}.items())
def test_a_site_is_a_place_of_the_network(site, where):
    m = create_model('xresnet18', Variant('v', SelfAttention, site), **SMALL)
    assert [k.partition('.convpath.')[0] for k,o in m.named_modules() if isinstance(o, SelfAttention)]==where

@pytest.mark.parametrize('site', ['5.0','0.0','1.2','1.-3','9.-1','replace:5','replace:0'])
def test_a_place_that_is_not_there_is_an_error(site):
    with pytest.raises(CliError, match='There is no'): create_model('xresnet18', Variant('v', Conv if 'replace' in site else SelfAttention, site), **SMALL)

def test_a_network_without_blocks_is_an_error():
    with pytest.raises(CliError, match='no stages'): insert_attention(nn.Sequential(nn.Conv2d(3,3,1)), SelfAttention)

# ---- replacing convolutions

def convs(m): return [o for o in m.modules() if isinstance(o, nn.Conv2d) and o.kernel_size==(3,3)]

def test_replacing_takes_every_3x3_convolution_of_the_stage_and_pools_where_it_strode():
    plain,m = create_model('xresnet18', seed=0, **SMALL), create_model('xresnet18', Variant('mine', Conv, 'replace:4'), seed=0, **SMALL)
    new = [o for o in m.modules() if isinstance(o, Conv)]
    assert len(new)==4 and len(convs(blocks_of(plain,4)))==4 and convs(blocks_of(m,4))==[]
    assert [(o.conv.in_channels,o.conv.out_channels) for o in new]==[(o.in_channels,o.out_channels) for o in convs(blocks_of(plain,4))]
    shapes = []
    for o in (plain,m):
        out = []
        hooks = [b.register_forward_hook(lambda m,i,y: out.append(y.shape)) for b in blocks(o)[3]]
        with torch.no_grad(): o.eval()(image())
        shapes.append(out)
    assert shapes[0]==shapes[1]
    assert sum(isinstance(o, nn.AvgPool2d) for o in blocks_of(m,4).modules()) == sum(isinstance(o, nn.AvgPool2d) for o in blocks_of(plain,4).modules())+1
    kept = [k for k in plain.state_dict() if k in m.state_dict()]
    assert all(torch.equal(plain.state_dict()[k], m.state_dict()[k]) for k in kept) and len(kept)==len(plain.state_dict())-4

def blocks_of(m, stage): return nn.ModuleList(blocks(m)[stage-1])

def test_replacing_in_a_bottleneck_takes_its_middle_convolution():
    m = create_model('xresnet50', Variant('mine', Conv, 'replace:4,replace:3', dict(ks=3)), **SMALL)
    assert sum(isinstance(o, Conv) for o in m.modules())==3+6

def test_insertions_and_replacements_go_together():
    m = create_model('xresnet18', Variant('mine', Any, '1.-1,replace:4'), **SMALL)
    assert m(image()).shape==(2,10)

class Any(nn.Module):
    def __init__(self, ni, nf=None): super().__init__(); self.conv = nn.Conv2d(ni, nf or ni, 1)
    def forward(self, x): return self.conv(x)

# ---- mistakes are named

def test_a_layer_that_swaps_a_weight_of_the_backbone_is_an_error():
    m = create_backbone('xresnet18', **SMALL)
    def bad(ni): m[0][0].weight = nn.Parameter(torch.zeros_like(m[0][0].weight)); return nn.Identity()
    with pytest.raises(CliError, match='of the backbone'): insert_attention(m, bad)

def test_a_layer_that_drops_a_part_of_the_backbone_is_an_error():
    m = create_backbone('xresnet18', **SMALL)
    def bad(ni): del m[5][0].convpath[0]; return nn.Identity()
    with pytest.raises(CliError, match='of the backbone'): insert_attention(m, bad)

@pytest.mark.parametrize('layer', [Wide,OneTooMany])
def test_a_layer_of_the_wrong_shape_names_variant_and_site(layer):
    with pytest.raises(CliError) as e: create_model('xresnet18', Variant('mine', layer, '2.-1'), size=64, **SMALL)
    assert "'mine'" in str(e.value) and layer.__name__ in str(e.value) and '2.-1' in str(e.value) and '64 px' in str(e.value)

def test_a_layer_that_does_not_take_its_arguments_names_variant_and_site():
    with pytest.raises(CliError) as e: create_model('xresnet18', Variant('mine', Conv, '2.-1', dict(window=7)), size=64, **SMALL)
    assert "'mine'" in str(e.value) and '2.-1' in str(e.value)

def test_an_option_that_a_library_layer_does_not_have_names_the_variant():
    with pytest.raises(CliError, match="'mine'.*symmetric needs ks=1"):
        create_model('xresnet18', Variant('mine', 'simpleattn.attention:SimpleSelfAttention', '1.-1', dict(ks=3, symmetric=True)), **SMALL)
    with pytest.raises(CliError, match="'mine'"): create_model('xresnet18', Variant('mine', 'simpleattn.attention:SimpleSelfAttention', '1.-1', dict(window=7)), **SMALL)

def test_an_unknown_backbone_is_an_error():
    with pytest.raises(CliError, match="'xresnet19'.*xresnet18"): create_model('xresnet19')

def test_trying_a_users_layer_leaves_mode_and_statistics():
    plain,m = create_model('xresnet18', seed=0, **SMALL), create_model('xresnet18', Variant('mine', Any), seed=0, **SMALL)
    assert m.training and all(torch.equal(t, m.state_dict()[k]) for k,t in plain.state_dict().items())

# ---- cost

def counted(m, size):
    with FlopCounterMode(display=False) as f, torch.no_grad(): copy.deepcopy(m).eval()(torch.zeros(1,3,size,size))
    return f.get_total_flops()

@pytest.mark.parametrize('name', ['xresnet18','xresnet50'])
def test_cost_of_a_baseline_is_torchs_count(name):
    m = create_model(name).train()
    assert cost(m, 64)==dict(params=sum(p.numel() for p in m.parameters()), flops=counted(m, 64))
    assert m.training

def test_flops_of_attention_follow_the_formula():
    "C = 64 channels and N = 256 positions at the default site of 64 px; the least of the orders"
    C,N,base = 64,256,cost(create_model('xresnet18'), 64)
    simple,self = (cost(create_model('xresnet18', v), 64) for v in ('simple','self'))
    assert simple['flops']-base['flops']==2*min(2*C*C*N + C**3, 3*C*C*N, C*C*N + 2*C*N*N)
    assert self['flops']-base['flops']==2*(2*C*C//8*N + C*C*N + (C//8 + C)*N*N)
    assert simple['params']-base['params']==C*C + 1
    assert self['params']-base['params']==2*C*C//8 + C*C + 1
    assert cost(create_model('xresnet18', 'symmetric'), 64)['params']-base['params']==C*(C+1)//2 + 1

def test_cost_grows_with_the_image_and_counts_every_site():
    one,two = (cost(create_model('xresnet18', v), 64)['flops'] for v in ('simple','simple@1.-1+1.0'))
    base = cost(create_model('xresnet18'), 64)['flops']
    assert two-base==2*(one-base)
    assert cost(create_model('xresnet18', 'simple'), 128)['flops']>3.9*one

def test_cost_of_a_users_layer_is_torchs_count():
    m = create_model('xresnet18', Variant('mine', Any), **SMALL)
    assert cost(m, 64)['flops']==counted(m, 64)

@pytest.mark.parametrize('v', variants())
def test_every_variant_is_built_and_trains_a_step(v):
    m = create_model('xresnet18', v, 7, 32, seed=0, **SMALL)
    out = m(image(32))
    assert out.shape==(2,7)
    out.square().sum().backward()
    assert all(p.grad is not None for p in m.parameters())
    assert (v=='baseline') == (not any(k.endswith('.gamma') for k,_ in m.named_parameters()))

@pytest.mark.parametrize('kw', [dict(act='mish'), dict(act='swish'), dict(pool='max'), dict(stem=(32,32,64)), dict(widen=.25)], ids=str)
def test_options_of_the_backbone_change_it_and_keep_the_pairing(kw):
    a,b = (create_model('xresnet18', v, seed=0, **{**SMALL,**kw}) for v in ('baseline','simple'))
    assert equal(a.state_dict(), {k:t for k,t in b.state_dict().items() if k in a.state_dict()})
    assert repr(a)!=repr(create_model('xresnet18', seed=0, **SMALL))
    with torch.no_grad(): assert torch.equal(a.eval()(image()), b.eval()(image()))
