"""What people do with a fastai Learner works on ours, with every kind of layer; callbacks are part of what a run is"""
import copy,pickle,warnings
from functools import partial
from pathlib import Path
import numpy as np,pandas as pd,pytest,torch
from fastai.callback.core import Callback,CancelFitException
from fastai.callback.mixup import CutMix
from fastai.callback.progress import CSVLogger,ProgressCallback,ShowGraphCallback
from fastai.callback.schedule import ParamScheduler
from fastai.callback.tracker import EarlyStoppingCallback,SaveModelCallback
from fastai.callback.training import ShortEpochCallback
from fastai.interpret import ClassificationInterpretation,Interpretation
from fastai.learner import load_learner
from fastai.data.core import show_at
from fastai.data.transforms import IntToFloatTensor,Normalize
from fastai.torch_core import set_seed
from fastai.vision.augment import (Brightness,Contrast,Dihedral,Flip,Hue,RandomErasing,RandomResizedCropGPU,Resize,Rotate,Saturation,Warp,
    Zoom,aug_transforms)
from fastai.vision.core import PILImage,TensorImage,imagenet_stats
from fastcore.script import CliError
from PIL import Image
from torch import nn
from conftest import python
from simpleattn.recipes import CallbackText,Recipe,derive,read_callbacks
from simpleattn.runs import find_runs,read_run
from simpleattn.shapes import make_shapes
from simpleattn.study import Study,load_study
from simpleattn.train import fit_recipe,get_learner,train_one,weights_hash
from simpleattn.variants import Variant,add_callbacks,get_variant,make_callback,register_variant,spell_callback,variants

@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch): monkeypatch.chdir(tmp_path)

@pytest.fixture(autouse=True)
def one_map():
    import matplotlib.pyplot as plt
    yield
    plt.close('all')

class Gate(nn.Module):
    "A layer of one's own"
    def __init__(self, ni):
        super().__init__()
        self.conv = nn.Conv2d(ni, ni, 1)
    def forward(self, x): return x + self.conv(x).tanh()

LOCAL = Variant('local', 'simpleattn.local:LocalSelfAttention', 'replace:4', dict(window=3, heads=2))
FIXED = Variant('fixed', 'simpleattn.bottleneck:MHSA2d', 'replace:4', dict(heads=2))
KINDS = ['baseline', 'self', 'simple', 'symmetric', 'ladder-no-softmax', LOCAL, 'attention-stem', FIXED, 'timm-bottleneck', Variant('mine', Gate)]

@pytest.fixture(scope='module')
def fitted(recipe, tiny):
    "Variant -> a learner after an epoch, made once"
    made = {}
    def get(variant, **changes):
        key = getattr(variant, 'name', variant), *changes.items()
        if key not in made:
            learn = get_learner(derive(recipe, **changes), variant, 0, tiny, device='cpu')
            learn.remove_cb(ProgressCallback)
            with learn.no_logging(): learn.fit(1, 1e-3)
            made[key] = learn
        return made[key]
    return get

# ---- the calls

def array(path): return np.array(Image.open(path))
def tensor(path): return torch.tensor(array(path)).permute(2,0,1)

ITEMS = dict(path=lambda o: o, text=str, bytes=Path.read_bytes, fastai=PILImage.create, pillow=Image.open, array=array, tensor=tensor,
    tensor_image=lambda o: TensorImage(tensor(o)), fractions=lambda o: tensor(o)/255, pair=lambda o: (o, 'red_blue'))

def predicts(learn, path, want):
    label,number,probs = learn.predict(path)
    assert label==learn.dls.vocab[int(number)]==learn.dls.vocab[int(probs.argmax())]
    assert torch.allclose(probs, want, atol=1e-5)

def works(learn, want):
    "All that is asked of a learner that has its images"
    ds = learn.dls.valid_ds
    assert len(learn.dls.train_ds.items)==48 and all(Path(o).is_file() for o in ds.items)
    predicts(learn, ds.items[3], want[3])
    predicts(learn, ds[3], want[3]) # what it gives is cut already
    preds,labels = learn.get_preds(dl=learn.dls.test_dl(ds.items, with_labels=True))
    assert torch.equal(preds, want) and torch.equal(labels, ds.labels), 'the pixels of a file are those of the paired batches'
    assert learn.get_preds(dl=learn.dls.test_dl(ds.items[:2]))[1] is None
    assert learn.tta(n=2)[0].shape==want.shape==learn.tta(dl=learn.dls.test_dl(ds.items), n=2, use_max=True)[0].shape
    for i in (0,1): Interpretation.from_learner(learn, ds_idx=i).plot_top_losses(4)
    ClassificationInterpretation.from_learner(learn).confusion_matrix()
    learn.show_results(max_n=2)
    learn.dls.test_dl(ds.items[:2]).show_batch()

@pytest.mark.parametrize('variant', KINDS, ids=lambda v: getattr(v, 'name', v))
def test_what_fastai_offers_works(fitted, tmp_path, variant):
    learn = fitted(variant)
    want = learn.get_preds()[0]
    works(learn, want)
    for again in (pickle.loads(pickle.dumps(learn)), copy.deepcopy(learn)):
        assert torch.equal(again.get_preds()[0], want)
    learn.export(tmp_path/'e.pkl')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        there = load_learner(tmp_path/'e.pkl')
    predicts(there, learn.dls.valid_ds.items[3], want[3])
    assert torch.equal(learn.get_preds()[0], want), 'and nothing of it changes the learner'

@pytest.mark.parametrize('kind', ITEMS)
def test_an_item_is_whatever_is_at_hand(fitted, kind):
    learn = fitted('simple')
    path = learn.dls.valid_ds.items[5]
    predicts(learn, ITEMS[kind](path), learn.get_preds()[0][5])
    assert len(learn.predict(ITEMS[kind](path), with_input=True))==4

@pytest.mark.parametrize('item,why', [(torch.randn(3,40,40), 'fractions'), (np.full((9,9,3), 300), 'not an image'),
    (np.zeros((3,9,9), np.uint8), 'of shape'), (np.zeros((0,9,3), np.uint8), 'of shape'), (np.full((9,9,3), 3000, np.uint16), 'give 0 to 255'), (7, 'not an image'), ('nothing.png', 'cannot be read')])
def test_what_is_no_image_is_said(fitted, item, why):
    with pytest.raises(CliError, match=why): fitted('simple').predict(item)

@pytest.mark.parametrize('changes', [dict(precision='bfloat16', mixup=.2), dict(precision='float16'), dict(presize=24), dict(backbone='resnet26-cifar', stem=(32,64,64))], ids=str)
def test_it_works_whatever_the_recipe(fitted, changes):
    learn = fitted('simple', **changes)
    again = pickle.loads(pickle.dumps(learn))
    works(again, learn.get_preds()[0])
    again.fit(1)

# ---- transforms that a person adds

ADDED = dict(usual=aug_transforms, vertical=lambda: aug_transforms(flip_vert=True, batch=True), smaller=lambda: aug_transforms(size=24),
    brightness=Brightness, contrast=Contrast, hue=Hue, saturation=Saturation, rotate=Rotate, zoom=Zoom, warp=Warp, flip=Flip,
    dihedral=Dihedral, crop=lambda: RandomResizedCropGPU(28), erasing=RandomErasing, both=lambda: [Rotate(), RandomErasing()],
    said=lambda: [IntToFloatTensor(), *aug_transforms()])

def added_to(learn, tfms, **kwargs):
    learn.dls.add_tfms(tfms, 'after_batch', **kwargs)
    return learn

@pytest.fixture
def unfitted(recipe, tiny):
    def get():
        learn = get_learner(recipe, 'simple', 0, tiny, device='cpu')
        learn.remove_cb(ProgressCallback)
        return learn
    return get

@pytest.mark.parametrize('kind', ADDED)
def test_batch_transforms_of_fastai_are_added_as_to_its_own_loaders(unfitted, tmp_path, kind):
    plain,learn = unfitted(), added_to(unfitted(), ADDED[kind]())
    preds,path = plain.get_preds()[0], plain.dls.valid_ds.items[3]
    x,_ = learn.dls.one_batch()
    assert x.dtype==torch.float32 and x.isfinite().all() and learn.dls.train.after_batch.normalise_bytes.order==99
    if kind not in ('smaller','crop'): # whose validation images are smaller too
        assert torch.allclose(learn.dls.valid.one_batch()[0], plain.dls.valid.one_batch()[0], atol=1e-4), 'validation is as it was, up to rounding'
        assert torch.allclose(learn.get_preds()[0], preds, atol=1e-4)
        predicts(learn, path, learn.get_preds()[0][3])
        assert torch.allclose(learn.predict(path)[2], preds[3], atol=1e-4)
    learn.dls.show_batch(max_n=2)
    learn.show_results(max_n=2)
    with learn.no_logging(): learn.fit(1, 1e-3)
    assert learn.tta(n=1)[0].shape==preds.shape
    want = learn.get_preds()[0]
    for again in (copy.deepcopy(learn), pickle.loads(pickle.dumps(learn))): assert torch.equal(again.get_preds()[0], want)
    learn.export(tmp_path/'e.pkl')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        there = load_learner(tmp_path/'e.pkl')
    predicts(there, path, want[3])

def test_what_is_added_works_on_fractions_and_is_normalised_last(unfitted):
    turn,light = Flip(p=1.), Brightness(p=1., draw=.7)
    plain,learn = unfitted().dls, added_to(unfitted(), [light, turn]).dls
    x,y = learn.one_batch()
    pixels,labels = plain.train_ds.batch(plain.train.get_idxs()[:len(y)], epoch=0)
    want = Normalize.from_stats(*imagenet_stats, cuda=False)(light(turn(pixels.float()/255, split_idx=0), split_idx=0))
    assert torch.allclose(x, want, atol=1e-5) and torch.equal(y, labels)
    still = added_to(unfitted(), [Brightness(p=0.), Contrast(p=0.)]).dls.one_batch()[0]
    as_it_was = plain.one_batch()[0]
    assert torch.allclose(still, as_it_was, atol=1e-6)
    assert torch.allclose(still.mean((0,2,3)), as_it_was.mean((0,2,3)), atol=1e-6) and torch.allclose(still.std((0,2,3)), as_it_was.std((0,2,3)), atol=1e-6)

def test_every_door_by_which_they_come(unfitted):
    "Added to the loaders or a pipeline, once or twice, before or after the first batch, in loaders that are put in or made anew"
    def names(dl): return [type(o).__name__ for o in dl.after_batch.fs]
    by_loaders,by_pipeline,put_in,twice = (unfitted() for _ in range(4))
    added_to(by_loaders, Rotate())
    by_pipeline.dls.train.after_batch.add(Rotate())
    put_in.dls = added_to(unfitted(), Rotate()).dls
    first = twice.dls.one_batch()
    added_to(added_to(twice, Brightness()), Rotate())
    for learn in (by_loaders, by_pipeline, put_in, twice):
        train = learn.dls.train
        anew = train.new(bs=4), train.new(after_batch=train.after_batch.fs)
        for dl in (train, *anew, train): assert dl.one_batch()[0].dtype==torch.float32
        for dl in (train, *anew): assert names(dl)==['IntToFloatTensor','Rotate',*['Brightness']*(learn is twice),'NormaliseBytes']
    valid = by_loaders.dls.valid
    assert valid.new().one_batch()[0].dtype==torch.float32 and names(by_pipeline.dls.valid)==['NormaliseBytes']
    made = unfitted().dls.train.new(after_batch=[Rotate(), valid.after_batch.normalise_bytes])
    assert made.one_batch()[0].dtype==torch.float32
    for tfms,dtype in (([], torch.uint8), ([IntToFloatTensor()], torch.float32)):
        x,_ = unfitted().dls.train.new(after_batch=tfms).one_batch()
        assert x.dtype==dtype and x.min()>=0, "a pipeline of one's own is taken whole"

def test_tta_takes_batch_transforms(unfitted):
    learn = unfitted()
    want,still = learn.get_preds()[0], learn.tta(n=1, batch_tfms=Brightness(p=0.), beta=None)[0][1]
    assert torch.allclose(still, want, atol=1e-5), 'normalised as ever'
    assert learn.tta(n=1, batch_tfms=aug_transforms())[0].shape==want.shape and torch.equal(learn.get_preds()[0], want)

@pytest.mark.parametrize('event', ['after_item','before_batch'])
def test_transforms_of_single_items_are_not_dropped_in_silence(unfitted, event):
    learn = unfitted()
    learn.dls.add_tfms(Resize(28), event)
    for ask in (learn.dls.one_batch, learn.dls.show_batch):
        with pytest.raises(CliError, match='never run here: Resize.*after_batch'): ask()
    with pytest.raises(CliError, match='never run here: Resize'): unfitted().tta(item_tfms=Resize(28))

def test_where_nothing_is_added_no_bit_changes(unfitted):
    plain,for_training = unfitted(), added_to(unfitted(), aug_transforms(), loaders='train')
    for_training.dls.one_batch()
    assert torch.equal(for_training.dls.valid.one_batch()[0], plain.dls.valid.one_batch()[0])
    assert torch.equal(for_training.get_preds()[0], plain.get_preds()[0])
    assert len(plain.dls.train.after_batch.fs)==len(for_training.dls.valid.after_batch.fs)==1

def test_a_fit_with_added_transforms_repeats_after_set_seed(unfitted):
    def trained(seed):
        learn = added_to(unfitted(), aug_transforms(), loaders='train')
        set_seed(seed)
        with learn.no_logging(): learn.fit(1, 1e-3)
        return weights_hash(learn.model)
    assert trained(0)==trained(0)!=trained(1)

def test_they_draw_for_a_batch_where_many_are_cut_at_a_time(recipe, tiny):
    def shapes(tfms):
        dls = get_learner(recipe, 'baseline', 0, tiny, device='cpu').dls
        dls.train.at_once,dls.train_ds.device = 1024, torch.device('cpu')
        if tfms: dls.add_tfms(tfms, 'after_batch')
        return [x.untyped_storage().data_ptr() for x,_ in dls.train]
    assert len({*shapes(None)})==1 and len({*shapes(Flip())})>1 and len({*shapes(RandomErasing())})>1

# ---- data sets and lists of items

def test_a_part_shows_its_images_as_fastais_does(fitted):
    dls = fitted('simple').dls
    for ds in (dls.train_ds, dls.valid_ds): assert show_at(ds, 0).get_title()==ds.vocab[int(ds[0][1])]
    assert show_at(dls.test_dl(dls.valid_ds.items[:2]).dataset, 1) is not None
    assert dls.train_ds.subset(0) is dls.train_ds and dls.train_ds.splits==[[*range(48)]]
    with pytest.raises(IndexError): dls.train_ds.subset(1)

def test_columns_arrays_of_paths_and_batches_of_images_are_lists(fitted):
    learn = fitted('simple')
    paths,want = [*learn.dls.valid_ds.items], learn.get_preds()[0]
    images = np.stack([array(o) for o in paths])
    for many in (pd.Series(paths, index=range(7, 7+len(paths))), np.array(paths), np.array([*map(str, paths)]), images, torch.tensor(images).permute(0,3,1,2), tuple(paths), (o for o in paths)):
        assert torch.equal(learn.get_preds(dl=learn.dls.test_dl(many))[0], want)
    assert len(learn.dls.test_dl(images[0]).dataset)==1, 'and one image is one'

@pytest.mark.parametrize('ask', [lambda l,df: l.dls.test_dl(df), lambda l,df: l.predict(df), lambda l,df: l.dls.test_dl([df]).one_batch(),
    lambda l,df: l.predict(df.file), lambda l,df: l.predict({'file': 'x'*999}), lambda l,df: l.predict(np.zeros((2,40,40,3), 'u1'))])
def test_what_is_no_image_is_named_in_a_line(fitted, ask):
    table = pd.DataFrame(dict(file=fitted('simple').dls.valid_ds.items))
    with pytest.raises(CliError, match='not (an image|a list of images): give') as e: ask(fitted('simple'), table)
    assert len(str(e.value))<300 and '\n' not in str(e.value)

# ---- copies

def test_a_copy_fits_on_as_its_original_does(recipe, tiny):
    learn = get_learner(derive(recipe, mixup=.2), 'simple', 0, tiny, device='cpu')
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 1e-3)
        copies = [copy.deepcopy(learn), pickle.loads(pickle.dumps(learn))]
        learn.fit(1, 1e-3)
    for again in copies:
        with again.no_bar(), again.no_logging(): again.fit(1, 1e-3)
        assert weights_hash(again.model)==weights_hash(learn.model)

def test_random_cuts_of_tta_leave_training_as_it_is(recipe, tiny):
    def trained(between):
        learn = get_learner(recipe, 'baseline', 0, tiny, device='cpu')
        with learn.no_bar(), learn.no_logging():
            learn.fit(1, 1e-3)
            if between: assert not torch.equal(learn.tta(n=1, beta=None)[0][0], learn.get_preds()[0])
            learn.fit(1, 1e-3)
        return weights_hash(learn.model)
    assert trained(False)==trained(True)

def test_tta_is_random_and_follows_torchs_seed(fitted):
    learn = fitted('simple')
    def augmented(seed):
        torch.manual_seed(seed)
        return learn.tta(n=1, beta=None)[0][0]
    assert torch.equal(augmented(1), augmented(1)) and not torch.equal(augmented(1), augmented(2))

def test_labels_of_top_losses_are_those_that_training_was_told(fitted):
    dls = fitted('simple').dls
    paths = dls.train_ds.items
    told,dls.train_ds.labels = dls.train_ds.labels, (dls.train_ds.labels+1)%6
    try: assert torch.equal(dls.test_dl(paths, with_labels=True).dataset.labels, dls.train_ds.labels)
    finally: dls.train_ds.labels = told
    own = [(Image.new('RGB', (50,40)), dls.vocab[2]), (paths[0], 1)]
    assert dls.test_dl(own, with_labels=True).dataset.labels.tolist()==[2,1]
    with pytest.raises(CliError, match="'dog' is not a class"): dls.test_dl([Path('dog/1.png')], with_labels=True)

def test_elsewhere_a_learner_predicts_and_says_that_its_images_are_not_there(recipe, tmp_path, layers):
    "Pickled or exported, also with a layer of a file: another process, where neither images nor cache nor file are"
    from simpleattn.variants import import_file
    path = make_shapes(tmp_path/'own', 48, 24)
    import_file(layers)
    image = next(path.glob('val/*/*')).rename(tmp_path/'one.png')
    want = []
    for name in ('simple','mine'):
        learn = get_learner(recipe, name, 0, path, device='cpu')
        with learn.no_bar(): want.append(learn.predict(image)[2].tolist())
        learn.export(tmp_path/f'{name}.pkl')
        if name=='simple': Path('all.pickle').write_bytes(pickle.dumps(learn))
    (tmp_path/'own').rename(tmp_path/'gone')
    code = '''
import json,pickle,sys,warnings
warnings.simplefilter('ignore')
from fastai.learner import load_learner
learners = [load_learner(o) for o in ('simple.pkl','mine.pkl')] + [pickle.load(open('all.pickle','rb'))]
res = []
for l in learners:
    with l.no_bar(): res.append(l.predict('one.png')[2].tolist())
try: learners[2].dls.one_batch()
except Exception as e: res.append(str(e))
print(json.dumps(res))'''
    res = python(code, env=dict(XDG_CACHE_HOME=str(tmp_path/'cache')))
    assert res.returncode==0, res.stderr
    import json
    *got,said = json.loads(res.stdout.splitlines()[-1])
    assert np.allclose(got, [*want, want[0]], atol=1e-5) and 'are not here' in said

def test_an_exported_learner_judges_images_with_their_classes(fitted, tmp_path):
    learn = fitted('simple')
    paths,want = learn.dls.valid_ds.items, learn.get_preds()
    learn.export(tmp_path/'e.pkl')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        there = load_learner(tmp_path/'e.pkl')
    assert list(there.dls.train_ds.items)==list(there.dls.valid_ds.items)==[]
    dl = there.dls.test_dl(paths, with_labels=True)
    assert torch.equal(dl.dataset.labels, want[1])
    assert there.validate(dl=dl)[1]==pytest.approx((want[0].argmax(1)==want[1]).float().mean().item())
    there.show_results(dl=dl, max_n=2)
    Interpretation.from_learner(there, dl=dl).plot_top_losses(4)
    assert ClassificationInterpretation.from_learner(there, dl=dl).confusion_matrix().sum()==len(paths)

PLACES = dict(slice=slice(2), several=[0,1], array=np.array([0,1]), tensor=torch.tensor([0,1]), mask=[True,True]+[False]*22, none=slice(0))

@pytest.mark.parametrize('kind', PLACES)
def test_a_data_set_gives_several_as_a_list(fitted, kind):
    dls = fitted('simple').dls
    for ds in (dls.train_ds, dls.valid_ds, dls.test_dl(dls.valid_ds.items).dataset):
        place = PLACES[kind] if kind!='mask' else [True,True]+[False]*(len(ds)-2)
        got,want = ds[place], [] if kind=='none' else [ds[0],ds[1]]
        assert type(got) is list and len(got)==len(want)
        assert all(torch.equal(a, b) for several,one in zip(got,want) for a,b in zip(several,one))
    assert torch.equal(dls.valid_ds[-1][0], dls.valid_ds[len(dls.valid_ds)-1][0])
    assert len([*dls.valid_ds])==len(dls.valid_ds)

def test_the_loaders_serve_a_learner_of_fastais_own(fitted):
    from fastai.vision.learner import vision_learner
    from torchvision.models import resnet18
    dls = fitted('baseline').dls
    assert int(dls.categorize(dls.vocab[2]))==2 and dls.categorize.decode(torch.tensor(2))==dls.vocab[2]
    learn = vision_learner(dls, resnet18, pretrained=False)
    assert type(learn.loss_func).__name__=='CrossEntropyLossFlat'
    with learn.no_bar(), learn.no_logging(): learn.fit(1)

def test_what_is_channels_last_already_stays_a_learner(recipe, tiny):
    learn = get_learner(recipe, 'baseline', 0, tiny, device='cpu')
    n = len(learn.cbs)
    assert learn.to_channelslast() is learn.to_channelslast(use_amp=False) is learn and len(learn.cbs)==n
    assert learn.to_contiguous().to_channelslast(use_amp=False) is learn and len(learn.cbs)==n

def test_a_pickle_holds_no_pixels(recipe, tiny):
    learn = get_learner(recipe, 'baseline', 0, tiny, device='cpu')
    with learn.no_bar(): learn.validate()
    kept = pickle.dumps(learn.dls)
    assert len(kept)<20_000<24*32*32*3 and learn.dls.train_ds.imgs[0].tobytes() not in kept

@pytest.mark.parametrize('opt', ['adam','rms','sgd','ranger','radam','ralamb','over9000','novograd'])
def test_every_optimiser_is_pickled(recipe, tiny, opt):
    learn = get_learner(derive(recipe, opt=opt), 'baseline', 0, tiny, device='cpu')
    learn.create_opt()
    again = pickle.loads(pickle.dumps(learn))
    assert again.opt_func is not None and len(again.opt.all_params())==len(learn.opt.all_params())

@pytest.mark.parametrize('options', [dict(mixup=.2), dict(precision='bfloat16'), dict(sched='step'), {}], ids=str)
def test_no_callback_of_ours_shadows_the_learner(recipe, tiny, recwarn, options):
    "Neither when an attribute is set, which fastai says, nor before, which it does not"
    class Look(Callback):
        observes = True
        def before_epoch(self):
            ours = [o for o in self.learn.cbs if type(o).__module__=='simpleattn.train']
            self.found = [(o, k) for o in ours for k in vars(o) if k!='learn' and hasattr(self.learn, k)]
    cb = Look()
    train_one(derive(recipe, **options), 'simple', 0, tiny, cbs=cb, checkpoints='ck')
    assert cb.found==[] and not [o for o in recwarn if 'shadowing' in str(o.message)]

# ---- callbacks are a key of the recipe

class Halt(Callback):
    "Ends a run after an epoch"
    def __init__(self, epoch=2, order=0):
        self.last,self.order = epoch,order
    def after_epoch(self):
        if self.epoch+1==self.last: raise CancelFitException()

class Watch(Callback):
    "Writes a line in each epoch, beside the run"
    observes = True
    def after_epoch(self):
        with open(self.learn.path/'watched.txt', 'a') as f: print(self.epoch, file=f)

TEXTS = [
    (CutMix, 'fastai.callback.mixup:CutMix()'), (CutMix(), 'fastai.callback.mixup:CutMix()'), (CutMix(.5), 'fastai.callback.mixup:CutMix(...)'),
    (partial(CutMix, alpha=.5), 'fastai.callback.mixup:CutMix(alpha=0.5)'), ('fastai.callback.mixup:CutMix( alpha = .5)', 'fastai.callback.mixup:CutMix(alpha=0.5)'),
    (EarlyStoppingCallback(patience=3), 'fastai.callback.tracker:EarlyStoppingCallback(patience=3)'),
    (EarlyStoppingCallback(min_delta=.01), 'fastai.callback.tracker:EarlyStoppingCallback(min_delta=0.01)'),
    (EarlyStoppingCallback('accuracy', min_delta=.01), "fastai.callback.tracker:EarlyStoppingCallback(monitor='accuracy', min_delta=0.01)"),
    (EarlyStoppingCallback('accuracy'), "fastai.callback.tracker:EarlyStoppingCallback(monitor='accuracy')"),
    (ShortEpochCallback(.3), 'fastai.callback.training:ShortEpochCallback(pct=0.3)'), (CSVLogger(), 'fastai.callback.progress:CSVLogger()'),
    (ParamScheduler({'lr':print}), 'fastai.callback.schedule:ParamScheduler(...)'), (Halt(3), 'test_learner:Halt(...)'), (partial(Halt, 3), 'test_learner:Halt(3)')]

def test_dots_among_the_keywords_of_a_callback_are_spelled_too():
    text = spell_callback(partial(EarlyStoppingCallback, comp=...))
    assert text=='fastai.callback.tracker:EarlyStoppingCallback(comp=...)'==spell_callback(text)

@pytest.mark.parametrize('cb,text', TEXTS, ids=lambda o: o if isinstance(o, str) else '')
def test_a_callback_has_one_spelling(cb, text):
    got = spell_callback(cb)
    assert got.partition('#')[0]==text and bool(got.source)==text.startswith('test_') and got.is_known==('...' not in text)
    assert pickle.loads(pickle.dumps(got))==copy.deepcopy(got)==got==spell_callback(got)
    if got.is_known: assert type(make_callback(got)).__name__ in text and spell_callback(make_callback(got))==got
    else:
        with pytest.raises(CliError, match='not known'): make_callback(got)

def test_several_stand_in_one_line():
    said = read_callbacks("a.b:C(x=(1, 2), y='d, e'), f.py:G, h:I({'k': [1, 2]})")
    assert said==('a.b:C(x=(1, 2), y=\'d, e\')', 'f.py:G()', "h:I({'k': [1, 2]})")

@pytest.mark.parametrize('text,why', [('CutMix', 'module:Class'), ('a:B(c)', 'numbers, strings'), ('a:B(**{})', 'numbers, strings'), ('a:B(', 'module:Class'),
    ('fastai.callback.mixup:Nope', "no 'Nope'"), ('not_there:B', 'No module'), ('fastai.callback.mixup:CutMix(gamma=1)', 'cannot be made'), ('torch.nn:ReLU', 'not a callback')])
def test_what_is_no_callback_is_said_before_anything_is_declared(recipe, tiny, tmp_path, text, why):
    with pytest.raises(CliError, match=why): Study('s', ['baseline','simple'], 2, recipe=recipe).run('serial', data=tiny, cbs=text)
    assert not (tmp_path/'runs').exists()

@pytest.mark.parametrize('made', ['os:mkdir("ran")','pathlib:Path.mkdir("ran")','os:makedirs("ran")'])
def test_what_is_no_callback_is_not_called(tmp_path, monkeypatch, made):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CliError): make_callback(made)
    with pytest.raises(CliError, match='not a callback'): make_callback(partial(Path('ran').mkdir))
    assert not [*tmp_path.iterdir()]

def test_the_source_of_ones_own_callback_is_part_of_its_text(tmp_path):
    file = tmp_path/'own.py'
    def text(n):
        file.write_text(f'from fastai.callback.core import Callback\nclass Own(Callback):\n    "{n} in a comment"\n    def before_fit(self): self.k = {n}\n')
        return spell_callback(f'{file}:Own')
    one,two = text(1), text(2)
    assert one.path==two.path=='own.py:Own' and one!=two
    with pytest.raises(CliError, match='has changed'): spell_callback(f'{file}:Own()#{one.source}')

def test_callbacks_are_in_the_hash_and_none_are_not(recipe):
    assert 'callbacks' not in recipe.to_dict() and derive(recipe, 'x', callbacks=()).hash==recipe.hash
    a,b = (derive(recipe, callbacks=f'fastai.callback.mixup:CutMix({o})') for o in ('','alpha=.5'))
    assert len({recipe.hash, a.hash, b.hash})==3 and a.name=='tiny_callbacks-cutmix' and len(derive(recipe, callbacks=','.join(f'a.b:C({i}{"0"*20})' for i in range(9))).name)<120
    assert Recipe(**a.to_dict())==a and 'CutMix' in a._repr_html_()
    with pytest.raises(CliError, match='only observes'): derive(recipe, callbacks='fastai.callback.progress:CSVLogger')
    same,observers = add_callbacks(recipe, [CSVLogger(), SaveModelCallback()])
    assert same is recipe and observers==('fastai.callback.progress:CSVLogger()', 'fastai.callback.tracker:SaveModelCallback()')
    assert add_callbacks(a, CutMix())[0] is a, 'what is there already is not added once more'

def same_run(a, b): return (a.acc,a.correct,a.history,a.weights)==(b.acc,b.correct,b.history,b.weights)

def test_what_changes_a_training_never_pools_with_ordinary_runs(recipe, tiny):
    plain,cut,by_text = (train_one(recipe, 'simple', 0, tiny, cbs=o) for o in (None, [CutMix()], 'fastai.callback.mixup:CutMix'))
    assert cut.recipe_hash==by_text.recipe_hash!=plain.recipe_hash and cut.path!=plain.path
    assert same_run(cut, by_text) and cut.weights!=plain.weights and cut.recipe['callbacks']==['fastai.callback.mixup:CutMix()']
    assert same_run(cut, train_one(derive(recipe, callbacks='fastai.callback.mixup:CutMix'), 'simple', 0, tiny)), 'a recipe of the settings is the same'
    unsaid = train_one(recipe, 'simple', 0, tiny, cbs=Halt(9))
    assert unsaid.recipe['callbacks'][0].startswith('test_learner:Halt(...)#') and unsaid.recipe_hash!=plain.recipe_hash

def test_one_object_for_several_seeds_is_one_recipe(recipe, tiny):
    cb = EarlyStoppingCallback(patience=9)
    assert len({train_one(recipe, 'baseline', s, tiny, cbs=cb).recipe_hash for s in (0,1)})==1

def test_observers_are_recorded_and_split_nothing(recipe, tiny, tmp_path):
    r = derive(recipe, epochs=3)
    plain = train_one(r, 'simple', 0, tiny)
    watched = train_one(r, 'simple', 0, tiny, cbs=[CSVLogger(), Watch()], root='runs')
    assert same_run(plain, watched) and plain.recipe_hash==watched.recipe_hash and plain.path==watched.path
    assert watched.observers[0]=='fastai.callback.progress:CSVLogger()' and watched.observers[1].startswith('test_learner:Watch()#')
    folder = tmp_path/'runs'/'_observed'/watched.path.removesuffix('.json')
    assert len((folder/'history.csv').read_text().splitlines())==4 and (folder/'watched.txt').read_text().split()==['0','1','2']
    assert not (tmp_path/'history.csv').exists() and find_runs('runs')[0]==[watched]==[read_run(tmp_path/'runs'/watched.path)]

class OwnGraph(ShowGraphCallback): observes = True

@pytest.mark.parametrize('cb', [ShowGraphCallback(), ShowGraphCallback, 'fastai.callback.progress:ShowGraphCallback', OwnGraph, ProgressCallback], ids=str)
def test_what_draws_into_a_bar_does_no_harm_where_there_is_none(recipe, tiny, cb):
    plain,watched = (train_one(recipe, 'baseline', 0, tiny, device='cpu', cbs=o, checkpoints='ck') for o in (None, cb))
    assert same_run(plain, watched) and plain.recipe_hash==watched.recipe_hash and len(watched.observers)==1

class Answer(Callback):
    "Puts chosen answers in the place of the network's"
    order = 60
    observes = True
    def __init__(self, right): self.right = right
    def after_pred(self):
        if self.training: return
        y = self.yb[0]
        self.learn.pred = nn.functional.one_hot(y if self.right[self.epoch] else torch.zeros_like(y), 6).float()

def test_the_best_weights_are_told_from_the_last(recipe, tiny):
    r,right = derive(recipe, epochs=3), Answer([False,True,False])
    plain = train_one(r, 'baseline', 0, tiny, cbs=right)
    saved = train_one(r, 'baseline', 0, tiny, cbs=[right, SaveModelCallback('accuracy')])
    assert saved.weights==plain.weights!=saved.kept_weights!='' and plain.kept_weights=='' and saved.recipe_hash==r.hash
    assert (saved.acc,saved.best_acc,saved.best_epoch)==(4/24,1.,2), 'the accuracy is that of the last epoch'
    kept = torch.load('models/model.pth', weights_only=True)
    other = get_learner(r, 'baseline', 0, tiny).model
    other.load_state_dict(kept)
    assert weights_hash(other)==saved.kept_weights

# ---- stopped early

@pytest.mark.parametrize('order', [0,70])
def test_a_run_that_a_callback_stops_is_stopped_and_not_diverged(recipe, tiny, order):
    "Whether the recorder had its turn or not"
    run = train_one(derive(recipe, epochs=4), 'simple', 0, tiny, cbs=Halt(2, order))
    assert (run.status,run.stopped,len(run.history),run.reason)==('ok',2,2,'stopped after epoch 2 of 4') and 'stopped after epoch 2' in repr(run)
    assert run.acc==run.history[-1]['acc']==run.bits().mean() and None not in run.history[-1].values()

def test_fastais_early_stopping(recipe, tiny):
    right = Answer([True,False,False,False,False])
    run = train_one(derive(recipe, epochs=5), 'simple', 0, tiny, cbs=[right, EarlyStoppingCallback('accuracy', patience=2)])
    assert (run.status,run.stopped,run.acc,run.best_acc)==('ok',3,4/24,1.) and 'EarlyStopping' in run.recipe['callbacks'][0]

class AlwaysWrong(Callback):
    order,observes = 60,True
    def after_pred(self):
        if not self.training: self.learn.pred = nn.functional.one_hot((self.yb[0]+1)%6, 6).float()

def test_a_run_may_be_stopped_and_at_chance(recipe, tiny):
    run = train_one(derive(recipe, epochs=5), 'simple', 0, tiny, cbs=[AlwaysWrong(), EarlyStoppingCallback('accuracy', patience=1)])
    assert (run.status,run.stopped,run.reason)==('diverged', 2, 'final accuracy not above chance; stopped after epoch 2 of 5')
    assert 'stopped after epoch 2 of 5' in repr(run)

def test_a_whole_run_is_not_stopped(recipe, tiny):
    run = train_one(derive(recipe, epochs=2), 'baseline', 0, tiny, cbs=Halt(2))
    assert (run.stopped,run.reason,len(run.history))==(0,'',2)

class Poison(Callback):
    order = 60
    def after_loss(self):
        if self.training and self.epoch: self.learn.loss_grad = self.learn.loss_grad*float('nan')
class HaltAtOnce(Callback):
    order = 61
    def after_loss(self):
        if self.training and self.epoch: raise CancelFitException()

def test_a_loss_that_is_not_finite_has_diverged_whoever_ends_the_run(recipe, tiny):
    run = train_one(derive(recipe, epochs=3), 'baseline', 0, tiny, cbs=[Poison])
    assert (run.status,run.acc,run.stopped)==('diverged',None,0)
    run = train_one(derive(recipe, epochs=3), 'baseline', 0, tiny, cbs=[HaltAtOnce])
    assert (run.status,run.stopped)==('ok',1)

class NoValidation(Callback):
    def before_fit(self): raise CancelFitException()

def test_an_accuracy_that_is_none_is_no_record(recipe, tiny, tmp_path):
    with pytest.raises(CliError, match='saw no validation'): train_one(recipe, 'baseline', 0, tiny, cbs=NoValidation, root='runs')
    many = make_shapes(tmp_path/'many', 48, 600)
    with pytest.raises(CliError, match='of 600 images.*short_valid=False'): train_one(recipe, 'baseline', 0, many, cbs=ShortEpochCallback(.2), root='runs')
    assert train_one(recipe, 'baseline', 0, many, cbs=ShortEpochCallback(.2, short_valid=False)).n_images==600
    assert find_runs('runs')==([],{})

# ---- studies

def test_callbacks_reach_workers_and_the_study_says_who_stopped(recipe, tiny, tmp_path):
    r = derive(recipe, epochs=3)
    study = Study('s', ['baseline', Gate], 2, recipe=r)
    study.run(workers=2, data=tiny, progress=False, cbs=[partial(Halt, 2), Watch(), 'fastai.callback.progress:CSVLogger'])
    runs = study.read().runs
    assert all(o.stopped==2 and o.recipe['name']=='tiny_epochs-3_callbacks-halt-2' and len(o.observers)==2 for of_arm in runs.values() for o in of_arm)
    assert len({*(tmp_path/'runs'/'_observed').rglob('watched.txt')})==len({*(tmp_path/'runs'/'_observed').rglob('history.csv')})==4
    notes = ' '.join(study.compare()['gate'].notes)
    assert 'stopped early: 2 of 2 runs of baseline (after epoch 2)' in notes and 'last epoch' in notes
    assert load_study('s').read().n_runs==4 and study.run('serial', data=tiny, cbs=partial(Halt, 2)).missing()==[]
    with pytest.raises(CliError, match='callbacks-halt-2'): Study('s', ['baseline', Gate], 2, recipe=r).compare()

def test_what_cannot_be_spelled_is_refused_in_studies(recipe, tiny, tmp_path):
    with pytest.raises(CliError, match='cannot be told.*functools.partial'): Study('s', ['baseline','simple'], 2, recipe=recipe).run('serial', data=tiny, cbs=Halt(3))
    assert not (tmp_path/'runs').exists()

def test_logging_splits_no_study(recipe, tiny):
    Study('s', ['baseline','simple'], 2, recipe=recipe).run('serial', data=tiny, progress=False)
    study = Study('s', ['baseline','simple'], 3, recipe=recipe).run('serial', data=tiny, progress=False, cbs=CSVLogger())
    assert [len(o) for o in study.read().runs.values()]==[3,3] and study.read().runs['simple'][0].recipe_hash==recipe.hash

def test_the_command_line_takes_callbacks(tiny, settings, capsys):
    from simpleattn.cli import main
    main(['train','tiny','--settings',str(settings),'--data',str(tiny),'--device','cpu','--set','epochs=2','--cbs','fastai.callback.mixup:CutMix','fastai.callback.progress:CSVLogger'])
    main(['study','tiny','--settings',str(settings),'--data',str(tiny),'--device','cpu','--runs','2','--engine','serial','--cbs','fastai.callback.mixup:CutMix(0.5)'])
    runs = find_runs('runs')[0]
    assert sorted(o.recipe['callbacks'][0] for o in runs)==['fastai.callback.mixup:CutMix()']+['fastai.callback.mixup:CutMix(0.5)']*4

def test_a_resumed_run_restores_its_callbacks(recipe, tiny):
    "Early stopping that saw a good first epoch before the kill still knows of it"
    r,right = derive(recipe, epochs=6), Answer([True]+[False]*5)
    cbs = 'fastai.callback.tracker:EarlyStoppingCallback(monitor="accuracy", patience=3)'
    want = train_one(r, 'baseline', 0, tiny, device='cpu', cbs=[right, cbs])
    class Kill(Callback):
        observes,order = True,70
        def before_batch(self):
            if self.training and self.epoch==2: raise RuntimeError('killed')
    with pytest.raises(RuntimeError, match='killed'): train_one(r, 'baseline', 0, tiny, device='cpu', cbs=[right, cbs, Kill()], checkpoints='ck')
    got = train_one(r, 'baseline', 0, tiny, device='cpu', cbs=[right, cbs], checkpoints='ck')
    assert want.stopped==got.stopped==4 and same_run(want, got)

# ---- layers of one's own

def layer(name, slope):
    "A class as a notebook's cell makes it, edited between two calls"
    space = dict(nn=nn, __name__='__main__')
    exec(f'class {name}(nn.Module):\n    def __init__(self, ni): super().__init__(); self.slope = {slope}\n    def forward(self, x): return x*self.slope', space)
    return space[name]

def test_a_study_takes_a_class(recipe):
    cls = layer('MyOwnLayer', 1.)
    study = Study('s', ['baseline', cls], 2, recipe=recipe)
    assert list(study.arms)==['baseline','my_own_layer'] and get_variant('my_own_layer')==get_variant(cls) and study.arms['my_own_layer'].variant.layer is cls
    elsewhere = register_variant('my-other', cls, '2.-1')
    assert get_variant(cls) is elsewhere, 'one that was registered is what was registered'

@pytest.mark.parametrize('given', [Gate(3), partial(nn.Conv2d, kernel_size=1), lambda ni: nn.Identity(), type('Größe', (nn.Module,), {}), 7, None],
    ids=['module','partial','lambda','an odd name','a number','nothing'])
def test_what_cannot_be_named_is_said_with_the_call_that_names_it(recipe, given):
    for make in (lambda: get_variant(given), lambda: Study('m', ['baseline', given], 2, recipe=recipe)):
        with pytest.raises(CliError, match="is not a variant.*register_variant\\('name'"): make()

def test_an_edited_layer_gets_the_next_free_name(recipe, tiny):
    first,second,third = (layer('Edited', slope) for slope in (1.,2.,3.))
    Study('s', ['baseline', first], 2, recipe=recipe).run('serial', data=tiny, progress=False)
    with pytest.raises(CliError, match='again=True'): Study('s', ['baseline', second], 2, recipe=recipe).run('serial', data=tiny)
    with pytest.raises(CliError, match='again=True'): Study('t', ['baseline', second], 2, recipe=recipe).run('serial', data=tiny)
    assert register_variant('edited', second, again=True).name=='edited-2'==register_variant('edited', second, again=True).name
    assert register_variant('edited', third, again=True).name=='edited-3' and get_variant('edited-2').layer is second
    assert register_variant('edited', third, again='elsewhere').name=='edited-3' and register_variant('simple', third, again=True).name=='simple-2'
    study = Study('s', ['baseline', first, 'edited-2'], 2, recipe=recipe).run('serial', data=tiny, progress=False)
    assert study.missing()==[] and study.compare()['edited-2'].n==2

def test_loaders_are_no_folder_of_images():
    with pytest.raises(CliError, match='data is a list: give a folder or an archive of images.*insert_attention'): get_learner('demo', data=[1])
