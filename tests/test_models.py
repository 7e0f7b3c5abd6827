"""A backbone with a layer is the same backbone: same weights, same output at gamma = 0, and the layer where it is said to be"""
import copy,functools,re
import pytest,torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from fastai.vision.models import xresnet
from torchvision.models import resnet18
from fastcore.script import CliError
from simpleattn.attention import SelfAttention,SimpleSelfAttention
from simpleattn.bottleneck import MHSA2d
from simpleattn.local import AttentionStem,LocalSelfAttention
from simpleattn.models import backbones,blocks,cost,create_backbone,create_model,insert_attention,timm_attention
from simpleattn.variants import Variant,get_variant,parse_site,variants

QUICK = ['xresnet18','xresnet50','xse_resnet18','xresnext50','resnet26']
XRESNETS,RESNETS = ([o for o in backbones if o.startswith('resnet')==b] for b in (False,True))
def params(names): return [pytest.param(o, marks=() if o in QUICK else pytest.mark.slow) for o in names]
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

def test_the_backbones_are_fastais_xresnets_and_the_papers_resnets():
    there = {o for o in dir(xresnet) if re.fullmatch('(xresnet|xse_resnet|xresnext|xse_resnext)(18|34|50|101|152)', o)}
    assert set(XRESNETS)==there and len(there)>=17
    assert set(RESNETS)=={f'resnet{n}{stem}' for n in (26,38,50,59) for stem in ('','-cifar')} and len(set(backbones))==len(backbones)

@pytest.mark.parametrize('name', params(backbones))
def test_inserting_leaves_every_backbone_weight_and_the_output(name):
    plain = create_model(name, seed=3)
    for v in ('self','simple'):
        m = create_model(name, v, seed=3)
        sd,new = m.state_dict(), set(m.state_dict())-set(plain.state_dict())
        assert equal(plain.state_dict(), {k:t for k,t in sd.items() if k not in new})
        assert new and all('.convpath.' in k or '.se.' in k for k in new)
        with torch.no_grad(): assert torch.equal(m.eval()(image()), plain.eval()(image()))
        m.train()
        plain.train()

@pytest.mark.parametrize('name', params(XRESNETS))
def test_the_backbone_is_fastais(name):
    torch.manual_seed(1); ours = create_backbone(name, 7, stem=(32,32,64))
    torch.manual_seed(1); theirs = getattr(xresnet, name)(n_out=7)
    assert equal(ours.state_dict(), theirs.state_dict()) and repr(ours)==repr(theirs)

@pytest.mark.parametrize('depth,n', [('resnet26',(1,2,4,1)),('resnet38',(2,3,5,2)),('resnet50',(3,4,6,3)),('resnet59',(3,4,6,6))])
def test_the_papers_resnets_have_its_bottlenecks_and_widths(depth, n):
    with torch.device('meta'): full,half,cifar = create_backbone(depth, 1000),create_backbone(depth, 10, widen=.5),create_backbone(f'{depth}-cifar', 10)
    for m,w in ((full,1),(half,.5),(cifar,1)):
        assert tuple(map(len, blocks(m)))==n and [o[-1].bn3.num_features for o in blocks(m)]==[int(w*c) for c in (256,512,1024,2048)]
        assert [[k for k,b in enumerate(o) if b.conv2.stride==(2,2)] for o in blocks(m)]==[[],[0],[0],[0]]
    assert (full.conv1.kernel_size,full.conv1.stride,cifar.conv1.kernel_size,cifar.conv1.stride)==((7,7),(2,2),(3,3),(1,1))
    assert sides(full, 64)==[16,8,4,2] and sides(cifar, 32)==[32,16,8,4]

def test_resnet50_is_timms():
    import timm
    torch.manual_seed(1); ours = create_backbone('resnet50', 7)
    torch.manual_seed(1); theirs = timm.create_model('resnet50', num_classes=7)
    assert equal(ours.state_dict(), theirs.state_dict())

def sides(m, size):
    "Height of what each stage gives"
    out,hooks = [], []
    for o in blocks(m): hooks.append(o[-1].register_forward_hook(lambda m,i,y: out.append(y.shape[2])))
    with torch.no_grad(): m.eval()(torch.zeros(1, 3, size, size, device=next(m.parameters()).device))
    for h in hooks: h.remove()
    return out

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

@pytest.mark.parametrize('site,where',
    {'1.-1':['4.1'], '1.0':['4.0'], '4.-1':['7.1'], '2.-2':['5.0'], '1.-1,2.-1':['4.1','5.1'], '4.0,4.1':['7.0','7.1']}.items())
def test_a_site_is_a_place_of_the_network(site, where):
    m = create_model('xresnet18', Variant('v', SelfAttention, site), **SMALL)
    assert [k.partition('.convpath.')[0] for k,o in m.named_modules() if isinstance(o, SelfAttention)]==where

@pytest.mark.parametrize('site', ['5.0','0.0','1.2','1.-3','9.-1','replace:5','replace:0'])
def test_a_place_that_is_not_there_is_an_error(site):
    with pytest.raises(CliError, match='There is no'): create_model('xresnet18', Variant('v', Conv if 'replace' in site else SelfAttention, site), **SMALL)

def test_a_network_without_blocks_is_an_error():
    with pytest.raises(CliError, match='no stages'): insert_attention(nn.Sequential(nn.Conv2d(3,3,1)), SelfAttention)

@pytest.mark.parametrize('wrap,part', [(lambda m: nn.Sequential(nn.BatchNorm2d(3), m), '1'), (nn.DataParallel, 'module'),
    (lambda m: nn.ModuleDict(dict(body=nn.ModuleDict(dict(net=m)))), 'body.net')])
def test_of_a_network_in_a_wrapper_the_part_that_takes_a_layer_is_named(wrap, part):
    wrapped = wrap(create_backbone('xresnet18', 10, widen=.125))
    with pytest.raises(CliError, match=f'no stages.*Its part {part} has: insert into that'): insert_attention(wrapped, SelfAttention)
    insert_attention(wrapped.get_submodule(part), SelfAttention)
    assert sum(isinstance(m, SelfAttention) for m in wrapped.modules())==1

# ---- the end of a block's convolutions

class Block(nn.Module):
    "A residual block of somebody's own; the shortcut's name is a parameter"
    def __init__(self, ni, nf, shortcut='shortcut'):
        super().__init__()
        self.conv1,self.bn1 = nn.Conv2d(ni, nf, 3, 1+(ni!=nf), 1),nn.BatchNorm2d(nf)
        self.conv2,self.bn2 = nn.Conv2d(nf, nf, 3, 1, 1),nn.BatchNorm2d(nf)
        self.name = shortcut
        setattr(self, shortcut, nn.Sequential(*[nn.Conv2d(ni, nf, 1, 2),nn.BatchNorm2d(nf)]*(ni!=nf)))
    def forward(self, x): return (self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())) + getattr(self, self.name)(x)).relu()

class Gated(Block):
    "With squeeze-and-excitation by convolutions at its end"
    def __init__(self, ni, nf):
        super().__init__(ni, nf)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(nf, nf, 1), nn.Sigmoid())
    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y*self.gate(y) + self.shortcut(x)).relu()

class NormsFirst(Block):
    "A block before whose convolutions the norms stand"
    def __init__(self, ni, nf):
        super().__init__(ni, nf)
        self.bn1 = nn.BatchNorm2d(ni)
        self.bn2,self.conv2 = nn.BatchNorm2d(nf),nn.Conv2d(nf, nf, 3, 1, 1)
    def forward(self, x): return self.conv2(self.bn2(self.conv1(self.bn1(x).relu())).relu()) + self.shortcut(x)

class Own(nn.Module):
    "A network of somebody's own, with stages of two blocks"
    def __init__(self, block, channels=3, stage=nn.Sequential):
        super().__init__()
        self.conv1,self.bn1 = nn.Conv2d(channels, 8, 3, 1, 1),nn.BatchNorm2d(8)
        self.layer1 = stage(block(8, 8), block(8, 8))
        self.layer2 = stage(block(8, 16), block(16, 16))
        self.fc = nn.Linear(16, 3)
    def forward(self, x): return self.fc(self.layer2(self.layer1(self.bn1(self.conv1(x)))).mean((2,3)))

def skipping(ni, nf): return Block(ni, nf, 'skip')

@pytest.mark.parametrize('block,site', [(Block,'2.0'), (Block,'2.1'), (Gated,'2.0'), (skipping,'2.1')])
@pytest.mark.parametrize('size', [2,32])
def test_a_layer_stands_after_the_last_norm_of_a_block_of_ones_own(block, site, size):
    m = insert_attention(Own(block), SelfAttention, site, size=size)
    stage,k = map(int, site.split('.'))
    assert [name for name,o in m.named_modules() if isinstance(o, SelfAttention)]==[f'layer{stage}.{k}.bn2.1']
    assert m(image(size)).shape==(2,3)

class Pair(Block):
    "A block that gives a tensor and something more"
    def forward(self, x): return super().forward(x[0] if isinstance(x, tuple) else x), 1

class First(nn.Sequential):
    def forward(self, x): return super().forward(x)[0]

def test_a_block_may_give_a_tuple():
    m = insert_attention(Own(Pair, stage=First), SelfAttention, '2.1', size=32)
    assert isinstance(m.layer2[1].bn2[1], SelfAttention) and m(image(32)).shape==(2,3)

class EndsInOne(nn.Module):
    "Norms first, and a 1x1 convolution last"
    def __init__(self, ni, nf):
        super().__init__()
        self.bn1,self.conv1 = nn.BatchNorm2d(ni),nn.Conv2d(ni, nf, 3, padding=1)
        self.bn2,self.conv2 = nn.BatchNorm2d(nf),nn.Conv2d(nf, nf, 1)
        self.downsample = nn.Conv2d(ni, nf, 1)
    def forward(self, x): return self.conv2(self.bn2(self.conv1(self.bn1(x)))) + self.downsample(x)

@pytest.mark.parametrize('size', [1,8,64])
def test_the_size_of_an_image_does_not_decide_whether_a_block_has_an_end(size):
    with pytest.raises(CliError, match='EndsInOne has no end'): insert_attention(Own(EndsInOne), SelfAttention, '2.1', size=size)

@pytest.mark.parametrize('make,site,says', [
    (lambda: Own(skipping), '2.0', 'Block has no end.*conv2 does not go through its last batch norm, skip.1.*must be called downsample or shortcut'),
    (lambda: Own(NormsFirst), '2.0', 'NormsFirst has no end.*conv2 does not go through its last batch norm, bn2'),
    (lambda: Own(NormsFirst), '1.-1', 'whose norms come first'),
    (lambda: timm_network('regnetz_b16_evos'), '1.-1', 'BottleneckBlock has no BatchNorm2d'),
    (lambda: Own(lambda ni,nf: nn.Conv2d(ni, nf, 1)), '1.0', 'Conv2d is not a block of convolutions: here the stage is a row of single modules'),
    (lambda: Own(lambda ni,nf: nn.BatchNorm2d(ni)), '1.1', 'BatchNorm2d is not a block')], ids=range(6))
def test_a_block_without_such_an_end_is_refused(make, site, says):
    with torch.device('meta'): m = make()
    with pytest.raises(CliError, match=says): insert_attention(m, SelfAttention, site, size=64)

def timm_network(name):
    import timm
    return timm.create_model(name)

def test_a_size_that_the_network_does_not_take_is_said():
    m = Own(Block)
    m.fc = nn.Sequential(nn.Unflatten(1, (4,4)), nn.MaxPool2d(8), nn.Flatten(), nn.Linear(16, 3))
    with pytest.raises(CliError, match='Own fails on a blank image of 32 px.*give size=, the side of its images'): insert_attention(m, SelfAttention, size=32)

def test_a_block_with_kernels_that_are_selected_has_an_end():
    m = insert_attention(timm_network('skresnet18'), SimpleSelfAttention, '2.-1')
    assert m.layer2[-1].se.n_channels==128

def test_a_stage_may_be_one_block():
    m = Own(Block)
    m.layer1 = m.layer1[0]
    insert_attention(m, SelfAttention, '1.0,2.1')
    assert [name for name,o in m.named_modules() if isinstance(o, SelfAttention)]==['layer1.bn2.1','layer2.1.bn2.1']

# ---- one layer after another

@pytest.mark.parametrize('make', [lambda: xresnet.xresnet18(n_out=3), lambda: timm_network('resnet18'), lambda: Own(Block), lambda: timm_network('gernet_s')])
def test_a_second_layer_stands_after_the_first_with_the_blocks_channels(make):
    "Also where the first has batch norms of its own, at the same place with the same seed"
    m = make()
    for kind in ('cbam','bat'): insert_attention(m, functools.partial(timm_attention, kind=kind), '2.-1', size=64)
    for _ in range(2): insert_attention(m, SimpleSelfAttention, '2.-1', seed=0, size=64)
    block = blocks(m)[1][-1]
    own = [o for o in block.modules() if type(o).__name__ in ('CbamModule','BatNonLocalAttn','SimpleSelfAttention')]
    order = []
    for o in own: o.register_forward_hook(lambda o,x,y: order.append((type(o).__name__, x[0].shape[1])))
    given = []
    block.register_forward_hook(lambda o,x,y: given.append(y.shape[1]))
    with torch.no_grad(): m.eval()(image(64))
    assert order==[(name,given[0]) for name in ('CbamModule','BatNonLocalAttn','SimpleSelfAttention','SimpleSelfAttention')]
    assert not torch.equal(own[-1].conv.weight, own[-2].conv.weight)

def test_a_variant_and_another_that_goes_in_with_it_stand_side_by_side():
    v = Variant('cs', timm_attention, '1.-1', dict(kind='cbam'), also=(get_variant('simple'),))
    for backbone in ('timm/gernet_s','xresnet18'):
        m = create_model(backbone, v, size=64)
        simple, = (o for o in m.modules() if isinstance(o, SimpleSelfAttention))
        assert simple.n_channels>1 and m.eval()(image(64)).shape==(2,10)

def test_a_layer_that_replaces_is_not_taken_apart():
    "The convolutions of a layer that was put in are not the backbone's, to be replaced once more"
    m = insert_attention(create_backbone('xresnet18', **SMALL), functools.partial(Conv, ks=3), 'replace:4')
    with pytest.raises(CliError, match="'replace:4' names no 3x3 convolution"): insert_attention(m, functools.partial(Conv, ks=3), 'replace:4')

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
    with pytest.raises(CliError, match="'mine'"):
        create_model('xresnet18', Variant('mine', 'simpleattn.attention:SimpleSelfAttention', '1.-1', dict(window=7)), **SMALL)

@pytest.mark.parametrize('fn,says', [
    (lambda: create_model('xresnet19'), "'xresnet19'. Did you mean xresnet18.*Choose from: .*resnet26-cifar.*timm/NAME"),
    (lambda: create_model('resnet62'), 'Did you mean resnet26'),
    (lambda: create_model('timm/resnet50dd'), "timm has no network 'resnet50dd'. Did you mean resnet50d"),
    (lambda: create_model('timm/'), 'timm has no network'),
    (lambda: create_model('timm/botnet26t_256', size=100), 'fails on 100 px.*weights are for 256 px.*Multiples of 32'),
    (lambda: create_model('resnet26', stem=(8,8,64)), "'resnet26' takes no stem = 8,8,64: leave it at 32,64,64"),
    (lambda: create_model('resnet26', pool='max'), 'takes no pool = max: leave it at avg'),
    (lambda: create_model('timm/resnet26d', widen=.5), 'takes no widen = 0.5: leave it at 1'),
    (lambda: create_model('timm/resnet26d', act='mish'), 'takes no act = mish: leave it at relu'),
    (lambda: create_model('timm/resnet26d', stem=(8,8,64)), 'takes no stem'),
    (lambda: create_model('timm/convnext_atto', 'simple', size=64),
    'ConvNeXt has no stages of residual blocks.*xresnets, ResNets and ByobNets have; others train as baseline only'),
    (lambda: create_model('xresnet18', Variant('mine', timm_attention, '1.-1', dict(kind='nope')), size=64),
    "'mine'.*'nope': choose one of bottleneck, halo, nl, bat, gc, se, eca, cbam, lambda"),
    (lambda: create_model('xresnet18', Variant('mine', timm_attention, 'replace:4', dict(kind='se')), size=64),
    'se keeps the channels.*256 go in and 512 come out: put it at STAGE.BLOCK'),
    (lambda: create_model('xresnet18', 'sasa', **SMALL), "'sasa'.*replace:1-4.*choose fewer heads"),
    (lambda: create_model('xresnet18', 'botnet-heads8', **{**SMALL,'widen':.13}), 'choose a divisor')], ids=range(15))
def test_a_mistake_is_named_with_its_fix(fn, says):
    with pytest.raises(CliError, match=says): fn()

def test_a_wrong_size_is_not_told_to_avoid_one_that_works():
    "128 px work, though timm's configuration has 224 for the least"
    with pytest.raises(CliError) as e: create_model('timm/botnet26t_256', size=100)
    assert 'no less than 224' not in str(e.value)

def test_a_layer_of_timm_that_is_made_for_another_map_is_named():
    "The network's own attention was made for the stride that stride1 takes away"
    with pytest.raises(CliError, match='botnet-s1.*(Error: [^ ]|made for|choose)'): create_model('timm/botnet26t_256', 'botnet-s1', size=128)

def test_a_network_made_for_one_size_names_what_another_size_needs():
    m = create_model('xresnet18', 'botnet', size=64, **BIG)
    with pytest.raises(ValueError, match="maps of 4 x 4 and got 6 x 6.*create_model's size"): m(image(96))

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

# ---- what is refused leaves the network as it was, and what is put in fits it

def facts(m):
    "Modules by name, with their tensors and attributes"
    return {name:(o, dict(o._modules), dict(o._parameters), dict(o._buffers), getattr(o, 'stride', None), vars(o).get('se', 0)) for name,o in m.named_modules()}

class Stubborn(nn.Module):
    "Takes every width but one"
    def __init__(self, ni, no): super().__init__(); self.check(ni, no)
    def check(self, ni, no):
        if ni==no: raise ValueError(f'not {no} channels')
    def forward(self, x): return x

def swaps_a_weight(ni):
    m = swaps_a_weight.network
    m.conv1.weight = nn.Parameter(torch.zeros_like(m.conv1.weight))
    return nn.Identity()

@pytest.mark.parametrize('layer,site', [
    (functools.partial(MHSA2d, heads=3), 'stride1:4,replace:4'), (functools.partial(Stubborn, no=128), '1.-1,2.-1'), (functools.partial(Stubborn, no=128), '1.-1,2.0'),
    (functools.partial(AttentionStem, heads=3), 'stem'), (OneTooMany, '1.-1,2.-1'), (Wide, '2.-1'), (swaps_a_weight, '1.-1'), (lambda ni: None, '3.-1')], ids=range(8))
@pytest.mark.parametrize('make', [lambda: resnet18(), lambda: timm_network('resnet18')], ids=['torchvision','timm'])
def test_a_refused_insertion_leaves_the_network_as_it_was(make, layer, site):
    m = swaps_a_weight.network = make()
    before = facts(m)
    with pytest.raises((CliError,ValueError)): insert_attention(m, layer, site, size=64)
    assert facts(m)==before
    insert_attention(m, SelfAttention, '2.-1', size=64)
    assert sum(isinstance(o, SelfAttention) for o in m.modules())==1 and m(image()).shape==(2,1000)

@pytest.mark.parametrize('layer,says', [
    ('self', "layer is 'self', a variant: give its class, such as SelfAttention. create_model takes a variant"), (get_variant('self'), "layer is 'self', a variant"),
    (SelfAttention(64), 'layer is a SelfAttention: give a class'), (None, 'layer is a NoneType'), (lambda ni: None, '<lambda> gives no layer, but NoneType'),
    (lambda ni: nn.Conv2d(ni, ni+1, 1), '<lambda> fails at 1.-1 on 64 px: RuntimeError'), (Wide, 'Wide fails at 1.-1'),
    (lambda ni: nn.AdaptiveAvgPool2d(1), r'<lambda> at 1.-1 turns \(1, \d+, 16, 16\) into \(1, \d+, 1, 1\): a layer must keep the shape')], ids=range(8))
def test_what_is_no_layer_is_refused_at_the_door(layer, says):
    with pytest.raises(CliError, match=says): insert_attention(create_backbone('xresnet18', **SMALL), layer, size=64)

@pytest.mark.parametrize('dtype', [torch.float64,torch.bfloat16,torch.float16], ids=str)
@pytest.mark.parametrize('layer,site', [(SelfAttention,'1.-1'), (SimpleSelfAttention,'2.0'), (functools.partial(MHSA2d, heads=1),'replace:4'),
    (functools.partial(AttentionStem, heads=1),'stem'), (Conv,'replace:3')], ids=range(5))
@pytest.mark.parametrize('make', [lambda: create_backbone('xresnet18', 3), lambda: resnet18(num_classes=3)], ids=['fastai','torchvision'])
def test_a_layer_takes_the_dtype_of_its_network(make, layer, site, dtype):
    m = insert_attention(make().to(dtype), layer, site, seed=0, size=64)
    twin = insert_attention(make(), layer, site, seed=0, size=64)
    new = lambda m: [t for o in m.modules() if hasattr(o, 'inserted') for t in o.parameters()]
    assert new(m) and all(torch.equal(a, b.to(dtype)) for a,b in zip(new(m), new(twin), strict=True))
    assert m.eval()(image().to(dtype)).dtype==dtype

def test_a_layer_goes_to_the_device_and_mode_of_its_network():
    m = insert_attention(create_backbone('xresnet18').to('meta').eval(), SelfAttention)
    assert all(t.is_meta for t in m.state_dict().values()) and not any(o.training for o in m.modules())

@pytest.mark.parametrize('channels', [1,5])
def test_a_network_for_images_of_other_channels_takes_every_layer(channels):
    for layer,site in ((SelfAttention,'1.-1'), (functools.partial(MHSA2d, heads=1),'replace:4'), (functools.partial(AttentionStem, heads=1),'stem'), (Conv,'replace:3')):
        m = insert_attention(xresnet.xresnet18(c_in=channels, n_out=3), layer, site, size=64)
        assert m(torch.randn(2, channels, 64, 64)).shape==(2,3)

# ---- every variant

BIG = dict(widen=.5, stem=(16,32,64))

@functools.lru_cache(maxsize=None)
def plain(seed, backbone='xresnet18', size=64):
    return create_model(backbone, n_out=7, size=size, seed=seed, **(BIG if backbone=='xresnet18' else dict(widen=.25) if not '/' in backbone else {}))

def gone(v, m):
    "Tensors of a backbone that a variant takes out: 3x3 convolutions of the stages that it replaces, and the stem"
    places = [p for o in (v,*v.also) if o.changes for p in parse_site(o.site)]
    of = {id(c.weight) for s,b in places if b is None for o in blocks(m)[s-1] for c in o.modules() if isinstance(c, nn.Conv2d) and c.kernel_size==(3,3)}
    first = next(k for k,_ in m.named_modules() if blocks(m)[0][0] is m.get_submodule(k)).split('.')[0]
    names = [k for k,_ in m.named_children()]
    stem = names[:names.index(first)] if (0,'stem') in places else []
    return {k for k,t in m.state_dict(keep_vars=True).items() if id(t) in of or k.split('.')[0] in stem}

def is_paired(m, v, backbone='xresnet18'):
    "The backbone's own tensors, apart from those taken out, bit for bit"
    ref,own,out = plain(3, backbone).state_dict(), m.state_dict(), gone(v, plain(3, backbone))
    assert set(ref)-set(own)==out
    assert all(torch.equal(own[k], t) for k,t in ref.items() if k not in out)
    return set(own)-set(ref)

def one_step(m, size=64):
    "Nothing that starts at 0 hides a gradient; every parameter moves"
    x = image(size, 4)
    with torch.no_grad():
        for k,p in m.named_parameters():
            if k.endswith('gamma'): p.fill_(.5)
            elif p.dim()==1 and k.endswith('weight') and not p.any(): p.fill_(.5)
    opt,before = torch.optim.SGD(m.parameters(), .1), [p.detach().clone() for p in m.parameters()]
    out = m.train()(x)
    assert out.shape==(4,7)
    nn.functional.cross_entropy(out, torch.arange(4)).backward()
    for k,p in m.named_parameters(): assert p.grad is not None and p.grad.isfinite().all() and p.grad.any(), k
    opt.step()
    assert all(not torch.equal(p, q) for p,q in zip(m.parameters(), before) if .1*p.grad.abs().max()>1e-6*q.abs().max())
    assert sum(not torch.equal(p, q) for p,q in zip(m.parameters(), before))>.9*len(before)

@pytest.mark.parametrize('name', variants())
def test_every_variant_keeps_the_backbones_weights_and_trains_a_step(name):
    v,m = get_variant(name),create_model('xresnet18', name, 7, 64, 3, **BIG)
    new = is_paired(m, v)
    assert bool(new)==any(o.layer is not None for o in (v,*v.also))
    cls,found = v.build() if v.layer else None, list(m.modules())
    if isinstance(cls, type):
        assert sum(type(o) is cls for o in found)==(1 if v.site in ('1.-1','stem') else len([k for k in gone(v, plain(3)) if k[0] in '4567']))
    assert sum(isinstance(o, AttentionStem) for o in found)==('stem' in v.site or bool(v.also))
    one_step(m)

@pytest.mark.parametrize('name', variants())
def test_another_seed_shares_no_weight_and_the_same_seed_all(name):
    kw = dict(widen=.25, stem=(8,8,64)) if name.startswith('sasa') else SMALL # eight heads need 16 channels
    a,b,c = (create_model('xresnet18', name, 7, 32, s, **kw) for s in (3,4,3))
    assert equal(a.state_dict(), c.state_dict())
    drawn = [(k,p,q) for (k,p),q in zip(a.named_parameters(), b.parameters()) if p.unique().numel()>1]
    assert drawn and not any(torch.equal(p, q) for _,p,q in drawn)
    flat = {k:p.flatten()[:8].tolist() for k,p,_ in drawn if p.numel()>=8}
    assert len({tuple(o) for o in flat.values()})==len(flat), 'two tensors were drawn alike'

@pytest.mark.parametrize('name', [pytest.param(o, marks=() if o in ('sasa-stem','botnet-s1') else pytest.mark.slow) for o in variants()])
@pytest.mark.parametrize('backbone', ['resnet26','resnet26-cifar'])
def test_variants_of_a_resnet_keep_its_weights_and_train_a_step(backbone, name):
    m = create_model(backbone, name, 7, 64, 3, widen=.25)
    is_paired(m, get_variant(name), backbone)
    one_step(m)

@pytest.mark.parametrize('name', [pytest.param(o, marks=() if o in ('sasa','botnet','simple') else pytest.mark.slow) for o in variants()])
def test_variants_of_a_network_of_timm_keep_its_weights_and_train_a_step(name):
    m = create_model('timm/resnet26d', name, 7, 64, 3)
    is_paired(m, get_variant(name), 'timm/resnet26d')
    one_step(m)

class AllZero(nn.Module):
    "All zero"
    def __init__(self, n): super().__init__(); self.n = n
    def forward(self, x): return 0*x

@pytest.mark.parametrize('name', ['repvgg_a0','mobileone_s0'])
def test_where_branches_run_side_by_side_a_layer_sees_their_sum(name):
    m = insert_attention(timm_network(name), AllZero, '1.1')
    block, = [o for o in blocks(m)[0] if any(isinstance(k, AllZero) for k in o.modules())]
    x = torch.randn(1, block.conv_kxk[0].conv.in_channels if name=='mobileone_s0' else block.conv_kxk.conv.in_channels, 16, 16)
    assert not block(x).any() and block.attn.n==block(x).shape[1]
    insert_attention(m, SelfAttention, '1.1')
    assert [type(o) for o in block.attn]==[AllZero,SelfAttention] and block.attn[1].n_channels==block.attn[0].n

@pytest.mark.parametrize('backbone,kw', [('xresnet18',BIG), ('resnet26',dict(widen=.25)), pytest.param('timm/resnet26d', {}, marks=pytest.mark.slow)])
@pytest.mark.parametrize('name', ['sasa','sasa-stem','botnet','botnet-s1','stride1','timm-halo'])
def test_odd_maps(backbone, kw, name):
    "50 px: 13, 7, 4 and 2 positions a side"
    m = create_model(backbone, name, 7, 50, 0, **kw)
    want = sides(create_model(backbone, 'baseline', 7, 50, 0, **kw), 50)
    assert want==[13,7,4,2] and sides(m, 50)==(want[:3]+[4] if name in ('botnet-s1','stride1') else want)
    with torch.no_grad(): assert m(image(50)).isfinite().all()

# ---- stride and stem

@pytest.mark.parametrize('backbone,kw', [('xresnet18',BIG), ('xresnet50',SMALL), ('resnet26',dict(widen=.25)), ('resnet26-cifar',dict(widen=.25)),
    ('timm/resnet26d',{}), pytest.param('timm/resnet50d', {}, marks=pytest.mark.slow)])
def test_stride1_keeps_the_weights_and_doubles_the_last_map(backbone, kw):
    a,b = (create_model(backbone, o, 7, 64, 0, **kw) for o in ('baseline','stride1'))
    assert equal(a.state_dict(), b.state_dict())
    p,q = sides(a, 64), sides(b, 64)
    assert q==p[:3]+[2*p[3]] and p[2]==2*p[3]
    with torch.no_grad(): assert not torch.allclose(a(image()), b(image()))

@pytest.mark.parametrize('backbone,kw,side',
    [('xresnet18',BIG,16), ('resnet26',dict(widen=.25),16), ('resnet26-cifar',dict(widen=.25),64), ('timm/resnet26d',{},16)])
def test_the_stem_that_comes_has_the_stride_of_the_one_that_goes(backbone, kw, side):
    m = create_model(backbone, 'attention-stem', 7, 64, 0, **kw)
    stem, = (o for o in m.modules() if isinstance(o, AttentionStem))
    seen = []
    blocks(m)[0][0].register_forward_hook(lambda m,x,y: seen.append((x[0].shape[1:], y.shape[2])))
    m.eval()(image())
    assert seen==[((64,side,side),side)] and bool(stem.attend.block)==(side==16)
    kept = [o for o in m.modules() if isinstance(o, nn.Conv2d) and o.in_channels==3]
    assert set(kept)=={stem.attend.query,stem.attend.value,stem.attend.key}

def test_attention_stands_where_each_convolution_stood_and_pools_after():
    plain,m = (create_model('resnet26', o, 7, 64, 0) for o in ('baseline','sasa'))
    for s,(a,b) in enumerate(zip(blocks(plain), blocks(m))):
        for i,(p,q) in enumerate(zip(a, b)):
            l = q.conv2 if s==0 or i else q.conv2[0]
            assert isinstance(l, LocalSelfAttention) and (l.n_in,l.n_out,l.window,l.heads)==(p.conv2.in_channels,p.conv2.out_channels,7,8)
            if s and not i:
                assert isinstance(q.conv2[1], nn.AvgPool2d) and q.conv2[1].kernel_size in (2,(2,2)) and q.conv2[1].stride in (2,(2,2)) and len(q.conv2)==2
    assert sides(plain, 64)==sides(m, 64)

def test_botnet_stands_in_the_last_stage_only_and_for_the_map_that_it_sees():
    for size,first in ((64,4),(128,8)):
        m = create_model('resnet50', 'botnet', 7, size, 0, widen=.25)
        found = {k:o for k,o in m.named_modules() if isinstance(o, MHSA2d)}
        assert list(found)==['layer4.0.conv2.0','layer4.1.conv2','layer4.2.conv2'] and [o.size for o in found.values()]==[(first,first)]+2*[(first//2,first//2)]
        s1 = create_model('resnet50', 'botnet-s1', 7, size, 0, widen=.25)
        assert [o.size for o in s1.modules() if isinstance(o, MHSA2d)]==3*[(first,first)] and not any(isinstance(o, nn.AvgPool2d) for o in s1.layer4.modules())

class Sized(nn.Module):
    "A user's layer that is made for one size"
    traits = dict(fixed_size=True)
    def __init__(self, ni, size, n_out=None): super().__init__(); self.size,self.conv = size,nn.Conv2d(ni, n_out or ni, 1)
    def forward(self, x):
        assert tuple(x.shape[2:])==tuple(self.size)
        return self.conv(x)

@pytest.mark.parametrize('site', ['2.-1','3.0','replace:3','1.0,4.0','1.0,replace:4','stride1:4,replace:4'])
def test_a_layer_that_is_made_for_one_size_is_told_its_map(site):
    m = create_model('xresnet18', Variant('mine', Sized, site), size=72, **SMALL)
    assert any(isinstance(o, Sized) for o in m.modules()) and m(image(72)).shape==(2,10)

# ---- networks of timm

class Nothing(nn.Module):
    "What is left of a block is its shortcut"
    def __init__(self, ni): super().__init__(); self.ni = ni
    def forward(self, x): return x*0

@pytest.mark.parametrize('backbone,kw,at', [('xresnet18',SMALL,'2.1'), ('xse_resnet18',BIG,'2.1'), ('resnet26',dict(widen=.25),'2.1'),
    ('timm/resnet26d',{},'3.1'), ('timm/botnet26t_256',{},'2.1'), ('timm/seresnet50',{},'1.1'),
    ('timm/resnext26ts',{},'2.1'), ('timm/resnet18',{},'1.1')])
def test_a_layer_stands_before_the_addition(backbone, kw, at):
    "With a layer that gives zeros the block is its activation of what came in"
    m = create_model(backbone, Variant('mine', Nothing, at), size=64, **kw)
    s,b = parse_site(at)[0]
    block,came,went = blocks(m)[s-1][b], [], []
    block.register_forward_pre_hook(lambda m,x: came.append(x[0].clone()))
    block.register_forward_hook(lambda m,x,y: went.append(y.clone()))
    with torch.no_grad(): m.eval()(image())
    act = next(getattr(block, k) for k in ('act3','act','act2') if hasattr(block, k))
    assert [o.ni for o in m.modules() if isinstance(o, Nothing)]==[went[0].shape[1]]
    assert torch.equal(went[0], act(came[0])) and went[0].any()

@pytest.mark.parametrize('backbone,size', [('timm/resnet50d',64), ('timm/botnet26t_256',128), ('timm/botnet26t_256',256), ('timm/resnet18',64)])
def test_a_layer_at_gamma_0_leaves_a_network_of_timm_as_it_was(backbone, size):
    x = image(size)
    a,b = (create_model(backbone, v, 7, size, 1).eval() for v in ('baseline','self'))
    with torch.no_grad():
        want = a(x)
        assert want.shape==(2,7) and torch.equal(want, b(x))
        next(p for k,p in b.named_parameters() if k.endswith('gamma')).fill_(2.)
        for m in b.modules():
            if isinstance(m, nn.BatchNorm2d) and not m.weight.any(): m.weight.fill_(1.)
        assert not torch.allclose(want, b(x))
    sa,sb = list(a.state_dict().values()), list(create_model(backbone, 'self', 7, size, 1).state_dict().values())
    assert sum(any(t.shape==o.shape and torch.equal(t, o) for o in sb) for t in sa)==len(sa) and len(sb)>len(sa)

@pytest.mark.parametrize('kind', ['nl','gc','se','eca','cbam','bat','bottleneck','halo','lambda'])
def test_every_layer_of_timm_stands_at_a_block(kind):
    from timm.layers.create_attn import get_attn
    m = create_model('xresnet18', Variant('mine', timm_attention, '1.-1', dict(kind=kind)), 7, 64, 0, **SMALL)
    assert [type(o) for o in blocks(m)[0][-1].convpath][-1] is get_attn(kind) and m(image()).shape==(2,7)

@pytest.mark.parametrize('kind', ['bottleneck','halo','bat','lambda'])
def test_a_layer_of_timm_that_wants_the_size_of_its_map_says_so(kind):
    with pytest.raises(ValueError, match=rf'{kind}.*give size=\(height, width\)'): timm_attention(64, kind=kind)

def test_a_baseline_of_timm_without_blocks_trains():
    m = create_model('timm/convnext_atto', 'baseline', 7, 64, 0)
    assert m.training and m(image()).shape==(2,7)

@pytest.mark.parametrize('kw', [dict(act='mish'), dict(act='swish'), dict(pool='max'), dict(stem=(32,32,64)), dict(widen=.25)], ids=str)
def test_options_of_the_backbone_change_it_and_keep_the_pairing(kw):
    a,b = (create_model('xresnet18', v, seed=0, **{**SMALL,**kw}) for v in ('baseline','simple'))
    assert equal(a.state_dict(), {k:t for k,t in b.state_dict().items() if k in a.state_dict()})
    assert repr(a)!=repr(create_model('xresnet18', seed=0, **SMALL))
    with torch.no_grad(): assert torch.equal(a.eval()(image()), b.eval()(image()))

@pytest.mark.parametrize('kind', ['bottleneck','halo','lambda','bat'])
def test_a_layer_of_timm_that_is_made_for_one_map_says_so(kind):
    m = create_model('xresnet18', f'timm-{kind}', size=64, **SMALL)
    with pytest.raises(ValueError, match=f"timm's {kind} was made for maps of .*create_model's size"): m(image(96))

@pytest.mark.parametrize('kw', [dict(size=0), dict(size=-3), dict(n_out=0)], ids=str)
def test_sizes_and_classes_are_at_least_one(kw):
    with pytest.raises(CliError, match='give at least 1'): create_model('xresnet18', **kw)

@pytest.mark.parametrize('size', [5,9,33])
def test_a_stem_keeps_the_backbones_stride_whatever_the_size(size):
    m = create_model('resnet26', 'attention-stem', 10, size, widen=.25)
    assert m.conv1.attend.block==4 and m(image(size)).shape==(2,10)

def test_traits_are_seen_through_a_partial():
    from functools import partial
    from simpleattn.bottleneck import MHSA2d
    m = insert_attention(create_backbone('xresnet18'), partial(MHSA2d, heads=2), 'replace:4', size=64)
    assert {o.size for o in m.modules() if isinstance(o, MHSA2d)}=={(4,4),(2,2)}

def test_a_subclass_of_tensor_goes_through_every_family():
    from fastai.vision.core import TensorImage
    for v in ('simple','symmetric','self','sasa','botnet'): assert create_model('resnet26', v, 10, 64, widen=.25)(TensorImage(image())).shape==(2,10)

@pytest.mark.parametrize('precision', [torch.float32,torch.bfloat16,torch.float16], ids=str)
@pytest.mark.parametrize('backbone', ['xresnet18','resnet26','resnet26-cifar','timm/resnet18','timm/gernet_s','timm/repvgg_a0'])
@pytest.mark.parametrize('variant', ['simple','symmetric'])
def test_simple_attention_trains_in_every_family_and_precision(backbone, variant, precision):
    "Channels last, as `get_learner` has it, where positions outnumber channels: blocks that add in place must be able to"
    small = {} if backbone.startswith('timm/') else dict(widen=.25)
    size = 32 if backbone.endswith('cifar') else 64
    model = create_model(backbone, variant, 6, size, **small).to(memory_format=torch.channels_last).train()
    x = torch.randn(2,3,size,size).to(memory_format=torch.channels_last)
    with torch.autocast('cpu', precision, enabled=precision!=torch.float32): out = model(x)
    out.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)

@pytest.mark.parametrize('net', ['xresnet18','resnet18','timm'])
def test_a_layer_for_a_convolution_that_loses_the_map_is_refused(net):
    "Its pixel would be added to every pixel of the shortcut, in silence"
    class Pooled(nn.Module):
        def __init__(self, ni, no): super().__init__(); self.conv = nn.Conv2d(ni, no, 1)
        def forward(self, x): return self.conv(x.mean((2,3), keepdim=True))
    import timm,torchvision
    from fastai.vision.models.xresnet import xresnet18
    model = dict(xresnet18=xresnet18, resnet18=torchvision.models.resnet18, timm=lambda: timm.create_model('gernet_s'))[net]()
    with pytest.raises(CliError, match='must keep height and width|fails at replace:4'): insert_attention(model, Pooled, 'replace:4')
