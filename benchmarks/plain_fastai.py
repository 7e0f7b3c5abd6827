"The usual set-up, which the benchmarks measure against: DataBlock, one process, float32, fastai's own layers"
from fastai.vision.all import (CategoryBlock,DataBlock,FlipItem,GrandparentSplitter,ImageBlock,Learner,Normalize,RandomResizedCrop,accuracy,get_image_files,imagenet_stats,
    parent_label,LabelSmoothingCrossEntropy)

def plain_dls(path, r, workers=0, device=None):
    "Loaders of a recipe as a notebook would write them"
    block = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, splitter=GrandparentSplitter('train','val'), get_y=parent_label,
        item_tfms=[RandomResizedCrop(r.size, min_scale=r.crop_min), FlipItem()], batch_tfms=Normalize.from_stats(*imagenet_stats, cuda=device is not None and 'cuda' in str(device)))
    return block.dataloaders(path, bs=r.bs, val_bs=max(r.bs,128), num_workers=workers, device=device)

PLAIN = dict(self=('self-plain','fastai.layers:SelfAttention','1.-1',{}), simple=('simple-plain','fastai.layers:SimpleSelfAttention','1.-1',dict(ks=1)))

def plain_variant(name):
    from simpleattn.variants import Variant
    return Variant(*PLAIN[name]) if name in PLAIN else name

def plain_run(path, r, variant='baseline', seed=0, workers=0, device=None):
    "One training; its validation accuracy"
    import torch
    from simpleattn.models import create_model
    from fastai.optimizer import Adam
    torch.manual_seed(seed)
    dls = plain_dls(path, r, workers, device)
    model = create_model(r.backbone, plain_variant(variant), dls.c, r.size, seed, r.stem, r.widen).to(dls.device)
    opt = lambda *a,**k: Adam(*a, mom=r.mom, sqr_mom=r.sqr_mom, eps=r.eps, **k)
    learn = Learner(dls, model, loss_func=LabelSmoothingCrossEntropy(eps=r.smooth), opt_func=opt, wd=r.wd, moms=r.moms, metrics=accuracy)
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(r.epochs, r.lr, div=r.div, pct_start=r.pct_start)
    return learn.recorder.values[-1][-1]
