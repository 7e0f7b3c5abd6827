"""Faults seeded into the library, and the tests that must notice each of them

    python tests/faults.py                      every fault, one after another
    python tests/faults.py holm-order --list    some of them, or only their names
    python tests/faults.py --module stats       those of one module
    python tests/faults.py --sound              the same tests on the library as it is: all must pass
    python tests/faults.py --record FILE        write what was found as JSON

Each fault changes one text of one module in a copy of the library, in a temporary folder, and runs only the tests that
should notice. A fault is caught where a test fails. A change that is no Python, or a test that cannot be collected, proves
nothing and counts as an error. The exit status is 0 where every fault was caught.

`FAULTS` says what is broken and who should notice. `CHANGES` holds the texts: it alone follows the library when that is
rewritten."""
import argparse,json,os,re,shutil,signal,subprocess,sys,tempfile,time
from dataclasses import dataclass
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
LIMIT = 300 # seconds for the tests of one fault

# ---- what is broken, and who should notice: name -> (one sentence, tests)
# `stats::wilson_ends` stands for tests/test_stats.py::test_wilson_ends

FAULTS = {
    # the copy is what is imported, here and in processes that a test starts
    'import': ('The library cannot be imported.', ['stats::wilson_ends']),
    'import-by-code': ('It cannot be imported by `python -c` in a process of its own.', ['stats::import_is_light']),
    'import-by-command': ('It cannot be imported by the installed command.', ['cli::the_command_is_installed']),
    'import-by-path': ('It cannot be imported where a test names the folder.',
        ['runs::a_gpu_that_is_hidden_or_does_not_answer_is_none']),
    # stats
    'diff-sign': ('The difference is baseline minus variant.', ['stats::paired_check_case']),
    'interval-alpha': ('The interval takes alpha on each side.', ['stats::paired_check_case']),
    't-one-sided': ('The p-value of a difference is one-sided.', ['stats::paired_check_case']),
    'paired-ddof': ('The sd of the differences divides by n.', ['stats::paired_check_case']),
    'welch-df': ("Welch's degrees of freedom divide by n, not n - 1.", ['stats::welch_check_case']),
    'student-df': ("Student's test has one degree of freedom too many.", ['stats::published_summaries']),
    'hedges': ("Hedges' correction has the wrong sign in its denominator.", ['stats::effect_sizes_and_improvement']),
    'tost-side': ('The upper of the two one-sided tests looks at the lower margin.', ['stats::tost_against_statsmodels']),
    'tost-smaller': ('Equivalence is shown by the smaller of two p-values.', ['stats::tost_against_statsmodels']),
    'wilson': ("Wilson's interval forgets a square.", ['stats::effect_sizes_and_improvement', 'stats::wilson_ends']),
    'signflip-tail': ('Sign patterns as extreme as the data are not counted.', ['stats::signflip_is_exact']),
    'signflip-half': ('The sign-flip p of fractions is one-sided.', ['stats::signflip_is_exact']),
    'verdict-side': ('A worse variant is called better.', ['stats::verdicts']),
    'pairing-share': ('Half of the seeds are enough to pair.', ['stats::pairing_rule']),
    'pairs-across-env': ('Runs of two machines are paired.', ['stats::pairs_never_cross']),
    'holm-order': ('Holm begins with the largest p-value.', ['stats::holm_against_statsmodels']),
    'holm-family': ('Holm forgets the size of the family where a p-value is missing.', ['stats::holm_against_statsmodels']),
    'interval-family': ('Intervals of a family are no wider than single ones.', ['stats::family']),
    'needed-family': ('The seeds needed forget the family.', ['stats::family']),
    'raced-family': ('The p of an answer forgets the family.', ['stats::the_p_of_an_answer_is_the_smallest_alpha_at_which_it_stands']),
    'noninferior-p': ('The p of "not worse" is that of no difference.', ['stats::the_p_of_an_answer_is_the_smallest_alpha_at_which_it_stands']),
    'answer-within': ('An interval that leaves the margin on one side is called equivalent.', ['stats::by_more_than_delta_is_said_of_the_right_side_only']),
    'power-tail': ('The power of a two-sided test forgets its far tail.', ['stats::power_against_statsmodels']),
    'sd-upper': ('The upper bound of an sd is its lower bound.', ['stats::sd_upper']),
    'plan-family': ('A plan forgets that variants share the error rate.', ['stats::plan']),
    'plan-hours': ("A plan's hours forget the baseline.", ['stats::plan']),
    'plan-corr': ('A seed correlation makes the sd of the difference larger.', ['stats::plan']),
    'seed-variance': ('Seed variance is the sum, not the difference, of run variance and churn.', ['stats::decomposition_case']),
    'churn-ddof': ('The variance within an image divides by R.', ['stats::decomposition_case']),
    'churn-images': ('Churn divides by M, not M - 1.', ['stats::decomposition_case']),
    'new-images-churn': ('Churn is added where it should be taken off the variance over images.',
        ['stats::decomposition_against_anova']),
    'worst-rank-sign': ('A diverged variant counts in its favour.', ['stats::worst_rank']),
    'worst-rank-family': ('The ranks of all seeds are judged without the family.', ['stats::worst_rank_counts_the_family']),
    'divergence-bound': ('The bound of the divergence rate is one-sided.', ['stats::divergence_numbers']),
    'race-radius': ('The radius of the confidence sequence forgets (n-1)/n.', ['stats::race_half_widths']),
    'race-family': ('A race of several arms spends alpha on each.', ['stats::race_verdicts']),
    'race-equivalence': ("The p of a bound of a race is that of no difference.", ['stats::race_interval_inverts_e']),
    'race-p-last': ("A race's p is that of its last seed, not the smallest so far.", ['stats::race_p_keeps_its_minimum']),
    'new-images-spent': ('A race over new images spends all of alpha on its seeds, and more on its images.',
        ['stats::sequential_new_images_is_wider_than_both_parts']),
    'race-goes-on': ('A race goes on after its decision.', ['stats::a_grown_study_is_reported_at_its_decision']),
    'gains-order': ('The first gain minus the second.', ['stats::diff_of_diffs', 'stats::gains_in_a_family']),
    'gains-by-seed': ('Gains on one data set count as independent.', ['stats::gains_on_one_data_set_keep_the_error_rate']),
    'race-series': ('Series of a race are paired by position.', ['stats::a_race_of_series_is_in_the_order_of_the_first']),
    'copies': ('An arm whose runs are those of another is not named.', ['stats::an_arm_whose_runs_are_those_of_another_is_named']),
    'turned-gains': ('Gains that point in two directions are pooled.', ['questions::gains_that_point_in_two_directions_are_refused']),
    'single-images': ('Rows of single images are runs.', ['results::rows_of_single_images_are_no_runs']),
    # study
    'forgotten-arm': ('The last arm is never missing.', ['study::missing_lists_all_arms_of_a_seed_together']),
    'seed-order': ('Declared seeds may be given in another order.', ['study::declared_seeds_are_not_chosen_again']),
    'blank-in-list': ("A blank after a comma is part of a variant's name.", ['cli::a_blank_after_a_comma_means_nothing_in_any_list']),
    'too-deep': ('Records a folder too deep are seen by nobody.', ['store::records_that_lie_too_deep_are_told_from_other_files']),
    'stray-moved': ('A stray copy is moved aside again and again.', ['study::a_stray_copy_of_a_record_is_named_and_costs_no_seed']),
    'unsaid-stray': ('Files that are not images by their names are skipped in silence.', ['folders::photographs_that_are_not_read_are_counted_before_anything_is_trained']),
    'dark-grey': ('A grey of 12 bits in 16 is not named.', ['folders::a_grey_that_holds_fewer_bits_than_it_says_is_named']),
    'tiff-turned': ('A TIFF is turned by EXIF.', ['folders::a_rotation_is_applied_in_no_format']),
    'tilde': ('A ~ in a root is a folder of that name.', ['files::a_tilde_is_the_home_wherever_a_place_is_given']),
    'swept-in-vain': ('A sweep is trained for a name that another study has.', ['board::what_would_be_refused_after_a_sweep_is_refused_before_it']),
    'refused-stays': ('A study that was refused as a race stays one.', ['study::what_was_refused_leaves_the_study_as_it_was']),
    'arm-twice': ('An arm may stand twice under two spellings.', ['study::an_arm_stands_once_however_it_is_spelled']),
    'growth-seen': ('Growth is recorded as if no run had been seen.', ['study::growth_is_recorded_with_the_runs_that_were_seen']),
    'joined-seen': ('Pairs of an arm that joins are not counted.', ['door::an_arm_whose_pairs_could_be_seen_before_it_joined_has_the_wider_interval']),
    'joined-few': ('Pairs of an arm that joins are counted among the seeds that are asked for.', ['door::pairs_of_declared_seeds_are_seen_also_by_who_asks_for_fewer']),
    'asked-now': ('What is asked for when the runs are there does not say so.', ['door::a_comparison_that_is_asked_for_with_the_runs_in_view_says_so']),
    'alone-lost': ('A diverged run without a partner is not counted.', ['door::a_diverged_run_without_a_partner_is_counted']),
    'alone-ranks': ('A diverged run without a partner ranks pairs.', ['door::a_diverged_run_without_a_partner_ranks_no_pair']),
    'best-pairs': ('Pairs of --best are those of the seeds that trained.', ['door::which_is_best_pairs_as_a_comparison_does']),
    'twice-asked': ('A comparison that is asked for twice is counted twice.', ['door::a_comparison_stands_once_in_its_family']),
    'rank-orders': ('Ranks of few runs are never exact.', ['door::ranks_of_few_runs_are_exact_where_diverged_runs_tie']),
    'growth-seeds': ('A growth does not say by which seeds.', ['study::growth_is_recorded_with_the_runs_that_were_seen']),
    'pairs-before': ('Pairs that were there before a declaration are not counted.',
        ['study::a_declaration_says_how_many_pairs_could_be_seen_before_it']),
    'study-env': ('A study reads the runs of every machine.', ['study::other_seeds_machines_and_recipes_do_not_count']),
    'hidden-arms': ('Arms that are declared and not named leave the family.',
        ['study::the_family_is_the_declared_one_whatever_is_shown_or_trained']),
    'missing-note': ('A study that lacks one seed passes for the declared one.',
        ['study::a_study_that_is_not_complete_is_not_the_declared_comparison']),
    'gains-studies': ('Gains of two studies are compared the other way round.', ['cli::two_studies_are_compared_by_their_gains']),
    'plan-from-runs': ("A plan takes the mean of the sds' roots.", ['race::a_plan_from_the_runs_of_a_recipe']),
    'failed-tries': ('Failed tries do not reach the comparison.',
        ['report::an_arm_without_runs_keeps_its_place_and_blocks_nobody']),
    # runs
    'checksum': ("A record's checksum is not held against its content.",
        ['runs::a_record_that_cannot_be_believed_is_named_left_in_place_and_not_counted']),
    'path': ("A record's path is not held against its content.",
        ['runs::a_record_that_cannot_be_believed_is_named_left_in_place_and_not_counted']),
    'newer-schema': ('A record of a newer schema is read.',
        ['runs::a_record_that_cannot_be_believed_is_named_left_in_place_and_not_counted']),
    'overwrite': ('A record is replaced by the next one of its name.', ['runs::a_record_is_never_overwritten']),
    'failed-as-runs': ('Failed tries are read as runs.', ['runs::failed_tries_are_numbered_and_are_not_runs']),
    'bits-order': ('Bits are read from the other end of the byte.', ['runs::bits_are_packed_and_unpacked']),
    'seeds-as-text': ('Runs are in the order of their seeds as text.', ['runs::every_run_is_one_row_in_order']),
    'env-minor': ("An env does not tell torch's minor version.", ['runs::env_is_the_device_and_torchs_minor_version']),
    'chance': ('The limit of chance is three standard errors.', ['train::the_limit_of_chance']),
    'merge': ('Merging replaces what differs.', ['store::merging_copies_what_is_missing_and_names_what_differs']),
    # recipes and variants
    'hash-field': ('The hash of a recipe misses its first field.', ['recipes::the_hash_changes_with_every_field']),
    'byte-order-mark': ('A byte order mark hides the recipes of a file.', ['recipes::a_mark_before_the_first_letter_hides_no_recipe']),
    'default': ('A default is another one.', ['recipes::defaults_stay_what_they_were']),
    'row-split': ('A published row of another split is taken for v1.',
        ['recipes::every_published_training_row_has_one_recipe_and_one_variant']),
    'stream-keys': ('Streams do not depend on their index.', ['recipes::streams_are_the_same_everywhere_and_apart']),
    'kwargs-order': ("The order of a layer's arguments changes its hash.",
        ['variants::the_order_of_arguments_does_not_count']),
    'site-hash': ('The hash of a variant misses its site.',
        ['variants::the_hash_changes_with_layer_arguments_and_site_and_not_with_name_or_doc']),
    'also-hash': ('The hash of a variant misses what goes in with it.', ['variants::what_goes_in_with_a_variant_is_part_of_it']),
    'stage-range': ('replace:1-3 misses its last stage.', ['variants::a_site_is_read']),
    # data
    'split-v1': ('Split v1 validates on every image of val.',
        ['data::v1_validates_on_the_files_of_ilsvrcs_validation_set_wherever_they_stand']),
    'tune-share': ('The tune split holds out a quarter.', ['data::tune_holds_out_a_fixed_fifth_of_each_class_of_train']),
    'normalise': ('The mean is not divided by the sd.', ['data::pixels_are_normalised']),
    'crop-bound': ('A crop may begin one pixel too far down.',
        ['data::boxes_are_distributed_as_torchvisions', 'data::boxes_reach_every_edge']),
    'crop-aspect': ('Crops are never wider than 1:1.', ['data::boxes_are_distributed_as_torchvisions']),
    'flip-off': ('Images are flipped where the recipe says no.', ['data::without_flips_nothing_is_flipped']),
    'noise-val': ('Label noise reaches validation.', ['data::label_noise_never_touches_validation']),
    'augment-epoch': ('Crops are the same in every epoch.', ['data::another_seed_or_epoch_gives_other_batches']),
    # train
    'best-epoch': ('The accuracy is that of the best epoch.', ['train::last_and_best_epoch_are_told_apart']),
    'momentum': ("One-cycle ignores the recipe's momentum.", ['train::one_cycle_moves_momentum_as_the_recipe_says']),
    'second-fit': ('A second fit begins the streams again.', ['train::a_second_fit_goes_on_in_the_streams']),
    'dropout-seed': ('Dropout draws from the generator as it is.', ['train::dropout_in_the_backbone_is_paired']),
    'dropout-alike': ('Every dropout layer draws the same.', ['train::dropouts_of_one_shape_have_masks_of_their_own']),
    'wd-norms': ('Norms and biases are decayed.', ['train::weight_decay_leaves_norms_and_biases_alone']),
    'one-cycle-div': ("One-cycle starts at fastai's fraction of the peak.",
        ['train::one_cycle_rises_from_a_div_th_to_the_peak_and_falls']),
    # layers and models
    'logit-scale': ("Logits are divided by the root of all channels, not of a head's.",
        ['bottleneck::it_is_a_loop_over_positions']),
    'softmax-axis': ('Softmax runs over the queries.',
        ['attention::fused_is_plain', 'attention::steps_against_written_out_formulas']),
    'gamma': ('The output of attention is not multiplied by gamma.', ['attention::steps_against_written_out_formulas']),
    'identity-at-start': ('gamma starts at 1.', ['attention::every_option']),
    'symmetric-gradient': ('The folded backward pass forgets a transpose.', ['attention::fastai_agrees']),
    'second-derivative': ('A second derivative does not see what the products are made of.', ['attention::second_derivatives_are_those_of_the_plain_form']),
    'gamma-precision': ('The gradient of gamma is summed in single precision.', ['attention::gamma_has_the_precision_of_what_goes_in']),
    'window-edge': ('A window lacks its last row and column.', ['local::it_is_a_loop_over_pixels']),
    'insertion-block': ('A layer always goes into the first block.', ['models::a_site_is_a_place_of_the_network']),
    'layer-seed': ("A layer's weights do not come from its place.", ['models::layers_at_two_sites_have_weights_of_their_own']),
    'frozen-norms': ('A look puts every module of a network into the mode of the whole.', ['cost::a_look_leaves_every_module_and_statistic_as_it_was']),
    'measured-statistics': ('A measured step moves the statistics of batch norms.', ['cost::a_look_leaves_every_module_and_statistic_as_it_was']),
    'flops-of-calls': ('A layer that is called twice is counted once.', ['cost::every_call_of_a_layer_counts_once']),
    'no-end': ('A layer goes after the last batch norm of any block.', ['models::a_block_without_such_an_end_is_refused']),
    'gate-is-no-end': ('A gate at the end of a block is taken for a convolution around it.', ['models::a_layer_stands_after_the_last_norm_of_a_block_of_ones_own']),
    'second-before-first': ('A second layer goes before the first one.', ['models::a_second_layer_stands_after_the_first_with_the_blocks_channels']),
    'norm-of-a-layer': ('The batch norms of a layer that was put in count as those of the block.', ['models::a_second_layer_stands_after_the_first_with_the_blocks_channels']),
    'half-an-insertion': ('A refused insertion stays half done.', ['models::a_refused_insertion_leaves_the_network_as_it_was']),
    'dtype-of-a-layer': ('A layer does not take the dtype of its network.', ['models::a_layer_takes_the_dtype_of_its_network']),
    'export-batch': ('An exported program takes batches of one size.', ['contract::a_layer_exports_for_batches_of_any_size']),
    # report, board, plots, command line
    'percent-twice': ('A report multiplies by 100 twice.', ['report::noise_is_what_decompose_says']),
    'arms-columns': ("sd and half-width stand in each other's column.", ['report::each_number_stands_under_its_head']),
    'runs-columns': ("Last and best epoch stand in each other's column.", ['report::each_number_stands_under_its_head']),
    'diverged-share': ('The diverged are counted out of the finished runs alone.', ['report::diverged_runs_have_a_section']),
    'board-order': ('The board picks the worst mean.', ['board::the_best_mean_is_picked_among_arms_with_runs_enough']),
    'board-reserved': ('The first reserved seed takes part in the pick.',
        ['board::a_pick_is_confirmed_on_reserved_seeds_which_take_no_part_in_it']),
    'board-published': ('The published entry stands in percent.',
        ['board::the_published_entry_stands_beside_its_own_data_set_only']),
    'sweep-pick': ('A sweep picks the last of equals.', ['board::the_rule_picks_for_the_baseline_or_for_each_arm']),
    'plot-sign': ('A plotted difference has the other sign.', ['plots::differences_stand_on_their_side_with_their_intervals']),
    'plot-interval': ('The bars of a plot are sds.', ['plots::runs_are_points_in_percent_and_bars_are_t_intervals']),
    'exit-status': ('A mistake ends with status 0.', ['cli::mistakes_end_the_command_with_status_2']),
    'csv-baseline': ('The first arm of a csv is the baseline, whatever its name.',
        ['cli::the_arm_named_baseline_is_the_baseline_wherever_it_stands']),
    'changed-images': ('A study trains on images that have changed.',
        ['study::images_that_have_changed_are_found_out_before_anything_is_trained']),
    'fetched-early': ('The driver fetches a data set before its runs do.',
        ['study::of_a_data_set_that_is_fetched_nothing_is_asked_before_its_runs']),
    'whole-study': ('A study that was run with some of its arms shows these alone.',
        ['cli::a_study_is_shown_with_all_its_declared_arms']),
    'metric-spellings': ('A key such as measurement does not say what was measured.',
        ['results::the_name_of_what_was_measured_may_stand_under_any_of_its_names']),
    'seed-cut': ('A seed of 1.7 is that of 1.',
        ['recipes::a_seed_that_is_none_trains_nothing']),
    'callback-by-name': ('A callback is taken for one of ours by its name.',
        ['lean::a_callback_with_the_name_of_one_of_ours_is_heeded']),
    'other-flops': ("Somebody else's flops are asked for positions.",
        ['cost::flops_that_somebody_elses_layer_means_otherwise_are_not_asked_for']),
    'lambda-3d': ("timm's lambda trains in bfloat16 as torch does it on a CPU.",
        ['contract::bfloat16_autocast']),
    'log-of-runs': ('Runs with their best epochs are taken for a log.',
        ['cli::runs_with_their_best_epochs_are_no_log']),
    'unreadable-place': ('What cannot be read is named by the part that a list gives it.',
        ['folders::what_cannot_be_read_is_named_by_its_file_where_a_list_splits_the_folder']),
    # readers: results and folders
    'utf16-unmarked': ('UTF-16 without a mark is not seen.', ['results::the_same_runs_in_another_encoding']),
    'markdown-rule': ('The rule under the header of a markdown table is a row.',
        ['results::the_same_runs_in_another_form']),
    'header-again': ('The header of a second file, put below the first, is a row.',
        ['results::the_same_runs_in_another_form[joined]']),
    'percent-header': ('A header that says percent is not heeded.',
        ['results::the_same_runs_in_another_form[percent_head]']),
    'error-rate': ('An error rate is read as an accuracy.', ['results::an_error_rate_is_one_minus_accuracy']),
    'mixed-by': ('Where --by is given, nothing else is held apart.',
        ['results::what_varies_within_a_part_is_refused_too']),
    'log-last': ('epoch=last keeps the first row of each run.',
        ['results::runs_that_end_at_different_epochs_are_not_mixed']),
    'where-kept': ('--where keeps what it should leave out.', ['results::a_case_gives_its_right_answer']),
    'largest-part': ('The value that is proposed is the last, not the one with most runs.',
        ['results::a_case_is_refused_by_name[ownruns.csv-]']),
    'summary-unit': ('Means in percent are proposed as they are.',
        ['results::a_mean_and_an_sd_are_given_as_fractions[columns]']),
    'against-one-run': ('One published run is taken for the mean of as many as ours.',
        ['results::own_runs_against_one_published_number']),
    'against-family': ('Several arms against one number share no error rate.',
        ['results::own_runs_against_one_published_number']),
    'lists-unequal': ('Lists of unequal length are paired by position.',
        ['results::lists_of_different_lengths_are_no_pairs']),
    'metric-sign': ('A cell that says error is taken for an accuracy.', ['results::a_cell_that_says_error_makes_it_one_minus_accuracy[where]']),
    'metric-loss': ('A cell that says loss is taken for an accuracy.', ['results::a_cell_that_says_loss_is_refused']),
    'metric-by': ('Losses are compared beside scores by --by.', ['results::a_cell_that_says_loss_is_refused']),
    'hole-closed': ('An empty place in a list is closed before positions are counted.', ['results::a_hole_is_not_closed_before_positions_are_counted[columns]']),
    'log-parts': ('Of the runs of one seed in several data sets the longest alone is kept.', ['results::the_last_row_of_each_data_set_is_kept']),
    'log-resumed': ('A run that went on under another id is two.', ['results::a_run_that_went_on_under_another_id_is_one']),
    'short-ignored': ('A column that changes within a run hides an unfinished one.', ['results::a_column_that_changes_within_a_run_hides_no_unfinished_run[rate]']),
    'best-machines': ('The best arm is told across machines.', ['questions::the_best_of_a_study_is_not_told_across_machines']),
    'worker-hangs': ('A worker that a thread keeps alive is waited for without end.', ['engines::a_worker_that_does_not_end_by_itself_is_ended']),
    'argument-inf': ('An argument that no record can hold is found after the training.', ['variants::an_argument_that_no_record_could_hold_is_refused']),
    'white-is-zero': ('A TIFF of 16 bits whose zero is white is a negative.', ['folders::a_tiff_whose_zero_is_white_is_no_negative']),
    'lists-epochs': ('Lists that say that they are epochs are seeds.', ['results::lists_that_say_that_they_are_epochs_are_no_seeds']),
    'log-starts': ('Rows that are sorted by epoch are runs each.', ['results::epochs_are_no_runs_where_nothing_tells_which_are_of_one_run']),
    'corner-error': ('The corner of a wide table that says error is not heeded.', ['results::a_cell_that_says_error_makes_it_one_minus_accuracy[corner]']),
    'two-of-each': ('Columns of two metrics are arms.', ['results::two_metrics_in_a_column_for_each_arm_are_refused[last]']),
    'seed-twice': ('Two columns of one seed are two runs.', ['results::two_columns_of_one_seed_are_refused']),
    'version-number': ('Version 2.10 is version 2.1.', ['results::versions_are_not_numbers']),
    'hash-infinite': ('A hash that reads like a huge number is infinite.', ['results::arms_that_are_hashes_are_two']),
    'seeds-as-arm': ('A list of seeds is an arm.', ['results::a_list_of_seeds_beside_lists_of_arms_holds_the_seeds']),
    'sum-of-all': ('A column of the best of all arms is an arm.', ['results::a_column_that_sums_up_the_arms_is_none']),
    'summary-word': ('Avg. is the seed of a run.', ['results::a_row_whose_seed_names_a_summary_is_none']),
    'one-error-turns-all': ('One arm called per turns a whole table round.', ['results::an_arm_whose_name_holds_such_a_word_is_an_arm']),
    'label-is-metric': ('A label that says errors turns a table round.', ['results::a_label_that_holds_such_a_word_is_no_metric']),
    'object-unheld': ('A config with another number is the same layer.', ['variants::an_edited_object_that_a_layer_uses_makes_another_layer[plain object]']),
    'hash-by-use': ('The hash of a layer changes with what it draws.', ['variants::the_hash_is_the_same_in_every_process_and_after_use']),
    'decorator-unheard': ('A partial with another argument is the same layer.', ['variants::what_a_layer_uses_is_a_part_of_it']),
    'module-behind': ('A module behind a module may be edited.', ['variants::an_edited_module_of_ones_own_makes_another_layer[second]']),
    'in-place-package': ('A package installed in place may be edited.', ['variants::a_package_that_is_installed_in_place_is_its_source']),
    'late-weights': ('Weights drawn at the first image follow no seed.', ['pairing::weights_of_a_layer_follow_the_seed_wherever_they_are_drawn']),
    'numpy-unseeded': ('Weights drawn from numpy follow no seed.', ['pairing::weights_of_a_layer_follow_the_seed_wherever_they_are_drawn']),
    'map-lost': ('A layer for a convolution may lose the map.', ['models::a_layer_for_a_convolution_that_loses_the_map_is_refused']),
    'paired-false': ('paired=0 pairs.', ['door::pairing_is_asked_for_in_any_form_of_yes_and_no']),
    'declaration-gone': ('A study goes on in another folder.', ['files::a_study_whose_folder_is_moved_away_stops_and_says_so']),
    'key-twice': ('Of a key that stands twice the last is taken.', ['files::a_declaration_with_a_key_twice_is_damaged']),
    'diverged-flag': ('A run that says that it diverged has failed.', ['results::a_run_that_says_diverged_has']),
    'some-percent': ('Accuracies with and without % are read alike.', ['results::percent_is_said_by_somebody']),
    'percent-fraction': ('A fraction among percents is divided by 100.', ['results::percent_is_said_by_somebody']),
    'member-outside': ('A member of an archive may lead outside on a way round.',
        ['folders::a_zip_cannot_lead_outside']),
    'archive-checksum': ('The checksum beside an archive is not held against it.',
        ['mistakes::an_archive_with_a_wrong_checksum_is_not_unpacked']),
    'archive-end': ('A tar file that is cut off between two members is unpacked.',
        ['files::a_tar_file_without_its_end_is_refused']),
    'split-seed': ('The seed of a split changes nothing.',
        ['folders::a_split_is_the_same_everywhere_and_another_seed_gives_another']),
    'split-copies': ('Copies of an image may train and validate.', ['folders::copies_of_an_image_stay_on_one_side']),
    'list-new': ('Images that came since the split are left out in silence.',
        ['folders::a_folder_that_its_list_does_not_fit_is_refused']),
    'class-in-val': ('A class that only val has is not told.',
        ['mistakes::data_that_cannot_be_meant_are_named_all_at_once']),
    'unverified': ('A copy of unknown origin passes for the official archive.',
        ['data::a_folder_that_was_given_is_not_called_the_official_archive']),
    'fingerprint-sizes': ('The fingerprint forgets the sizes of the images.',
        ['data::a_fingerprint_is_of_names_and_sizes']),
    'too-many-images': ('A known data set may have more images than it has.',
        ['folders::counts_that_contradict_a_known_data_set_are_refused']),
    'grey-16': ('Greys of 16 bits are cut off, not rounded.', ['folders::16_bit_grey_is_scaled_and_not_white[g.png]']),
    'noise-v1': ('Noisy labels go with split v1.', ['data::label_noise_is_none_of_split_v1']),
    'duplicates-parts': ('An image that is in train and val is told as one of a class.',
        ['folders::the_same_image_in_both_parts_or_two_classes_is_named']),
    'hidden-files': ('Hidden files are images.', ['folders::what_programs_leave_behind_is_no_class_and_no_image']),
    # stores: files and runs
    'name-above': ('A name may lead above its root.',
        ['files::a_name_that_could_leave_its_root_is_refused_by_every_verb']),
    'link-on-the-way': ('A linked folder on the way is followed.',
        ['files::nothing_is_written_through_a_link_below_the_root']),
    'half-file': ('What could not be written whole stays beside the file.',
        ['files::what_cannot_be_written_whole_leaves_nothing_beside_it']),
    'answer-lost': ("After a try that failed, another process's file is taken for ours.",
        ['files::a_file_that_came_between_two_tries_is_ours_only_where_it_says_the_same']),
    'no-patience': ('What fails once is not tried again.',
        ['files::a_read_that_fails_is_tried_again_and_then_ends_with_a_line_and_nothing_is_moved']),
    'patience-in-vain': ('What no pause mends is tried again.', ['files::what_no_pause_mends_is_not_tried_again']),
    'object-denied': ('An object that is listed and not given out is taken for missing.',
        ['files::with_45_of_100_requests_failing_nothing_is_lost_duplicated_renamed_or_left_out[0]']),
    'tidy-alive': ('What a living process writes is tidied away.',
        ['files::the_next_start_tidies_what_a_killed_process_left']),
    'too-large': ('A file beyond every size is read.', ['files::a_file_larger_than_any_of_a_store_is_not_read']),
    'strange-links': ('A linked folder in the place of a folder is not told.',
        ['files::verify_names_what_is_no_file_of_a_store']),
    'best-epoch-last': ('The best epoch is the last of equals.',
        ['runs::a_record_that_contradicts_itself_is_named_and_not_believed']),
    'surplus-bits': ('Bits of images that there are not are believed.',
        ['runs::a_record_that_contradicts_itself_is_named_and_not_believed']),
    'bits-against-acc': ('More bits than the accuracy says are believed.',
        ['runs::a_record_that_contradicts_itself_is_named_and_not_believed']),
    'recipe-hash': ("A record's recipe is not held against its hash.",
        ['runs::a_record_that_contradicts_itself_is_named_and_not_believed']),
    'failure-place': ('A failed try may stand in the place of another run.',
        ['files::a_merge_believes_nothing_unread_and_follows_no_link']),
    'growth-order': ('The tenth growth of a study comes before the second.',
        ['files::the_tenth_growth_is_read_after_the_second']),
    'growth-alone': ('A growth is merged without what it adds to.',
        ['runs::a_merge_adds_a_growth_only_to_the_family_that_it_was_declared_for']),
    'stopped-early': ('A run that went to its end counts as stopped.', ['learner::a_whole_run_is_not_stopped']),
    'second-gpu': ('cuda:1 is the first GPU.', ['runs::the_env_is_that_of_the_card_that_is_meant']),
    'changed-source': ('A commit does not tell that files differ from it.',
        ['runs::the_commit_is_that_of_the_library_and_says_where_it_was_changed']),
    'failed-tries-of-arm': ('Records that were set aside count as failed tries.',
        ['runs::a_record_that_was_set_aside_is_no_failed_try']),
    # statistics: rows, stats, plan and questions
    'decimal-comma': ('A decimal comma is left out.', ['results::the_same_runs_in_another_form[decimal_comma]']),
    'thousands': ('1,000 is 1.', ['results::spellings_of_one_value_do_not_vary']),
    'seed-twice': ('A seed may stand twice with two accuracies.', ['results::a_case_is_refused_by_name']),
    'mean-first': ('A first row that is the mean of the others is a run.',
        ['results::a_mean_that_stands_first_is_named']),
    'block-twice': ('A block of rows that stands twice is many runs.',
        ['results::rows_that_were_pasted_twice_are_named']),
    'unfinished': ('Runs that are not finished count.', ['results::a_run_that_goes_on_is_left_out_and_counted']),
    'setting': ('A setting with the name of a measure is left aside.',
        ['results::a_column_that_keeps_runs_apart_is_refused_by_name[weight_loss]']),
    'arms-alike': ('Arms that differ in blanks are two.',
        ['results::arms_that_are_written_in_two_ways_are_named[arms2]']),
    'outlier': ('A run far outside its arm is not told.', ['door::a_run_far_outside_its_arm_is_named_and_counted']),
    'few-runs': ('Three runs pass for enough.', ['door::few_runs_are_warned_of']),
    'recipes-mixed': ('An arm may mix recipes.', ['stats::pairs_never_cross']),
    'new-images-narrower': ('The interval over new images may be narrower than that of this set.',
        ['door::new_images_are_never_more_certain_than_this_set']),
    'pair-order': ('Pairs are made by position in the second arm.', ['stats::seeds_align']),
    'bits-order-of-runs': ('Bits of other runs pass for those of a run.', ['stats::wrong_input_says_the_fix']),
    'mcnemar': ("McNemar's test looks at the larger count.", ['stats::divergence_numbers']),
    'ties': ('A tie is a loss.', ['stats::effect_sizes_and_improvement']),
    'largest-env': ('Seeds pair under the machine that has fewest.', ['stats::pairs_never_cross']),
    'plan-equivalence': ('Seeds for equivalence take the two-sided alpha for each side.',
        ['rule::what_a_plan_promises_comes_true']),
    'plan-grown': ('The bound of a study that grows is not scaled to t.', ['stats::power_of_a_study_that_grows']),
    'decided-at': ('A race is decided one seed too early.', ['stats::race_verdicts']),
    'second-question': ('The question over all seeds costs nothing.',
        ['stats::the_second_question_is_asked_at_a_fifth_of_alpha']),
    'evidence': ('The evidence of a race forgets a root.', ['stats::race_case']),
    'plan-upper-df': ('The bound of an sd has one degree of freedom too many.', ['stats::plan']),
    'prediction': ('A further study is as sure as the mean.',
        ['questions::the_mean_is_a_one_sample_t_over_studies[5]']),
    'two-studies': ('The difference of two studies has the other sign.',
        ['questions::two_studies_are_their_difference']),
    'shared-studies': ('Studies that share runs are pooled.', ['questions::studies_that_share_runs_are_refused']),
    'pool-raced': ('Raced studies are pooled.',
        ['questions::what_is_no_estimate_of_a_fixed_number_of_seeds_is_refused']),
    'pool-diverged': ('Studies with diverged runs are pooled.',
        ['questions::what_is_no_estimate_of_a_fixed_number_of_seeds_is_refused']),
    'hsu-others': ('An arm is held against arms that cannot be the best.', ['questions::best_of_three_by_hand']),
    'hsu-family': ('The arms that may be the best share no error rate.', ['questions::best_is_what_hsu_writes[1]']),
    'winner-interval': ("The winner's interval forgets that it was picked.",
        ['questions::the_winner_has_an_interval_over_all_arms']),
    'between-few': ('The spread between studies is told from five seeds each.',
        ['questions::the_sd_between_studies_waits_for_twenty_seeds']),
    # a CPU's step to the bit, and records that can be kept nowhere
    'middle-corner': ('A map of one pixel meets the corner of a kernel.', ['fast::any_convolution_of_a_fit_gives_what_it_gives_alone']),
    'middle-float32': ('It meets the middle in float32 too.', ['fast::in_bfloat16_a_map_of_one_pixel_is_convolved_to_the_bit_with_the_middle_of_a_kernel']),
    'middle-stays': ('The convolutions keep that form after the fit.', ['fast::any_convolution_of_a_fit_gives_what_it_gives_alone']),
    'adam-order': ('The average of gradients is seen in another order than the weights.', ['fast::adam_steps_to_the_bit_over_weights_with_their_channels_last_and_copies_none_that_fill_vectors']),
    'adam-tails': ('Weights that do not fill vectors are seen in the order of the memory too.', ['fast::adam_steps_to_the_bit_over_weights_with_their_channels_last_and_copies_none_that_fill_vectors']),
    'lost-parked': ('A record that can be kept nowhere is called parked.', ['files::a_study_goes_on_where_records_wait_and_stops_at_the_first_that_is_lost']),
    'hidden-records': ('Hidden files are records.', ['files::hidden_files_such_as_macos_writes_beside_others_are_no_records']),
    'folders-hold': ('A folder in a folder is something that is held.', ['files::a_folder_of_folders_holds_nothing']),
}

# ---- the texts: name -> (module, text that stands there exactly once, text that takes its place)

VERSION = '__version__ = "0.2.0"'
# Only in a process that a test starts
ALONE = "import sys\nif 'pytest' not in sys.modules: raise ImportError('seeded')\n" + VERSION

CHANGES = {
    'import': ('__init__', VERSION, "raise ImportError('seeded')"),
    'import-by-code': ('__init__', VERSION, ALONE),
    'import-by-command': ('__init__', VERSION, ALONE),
    'import-by-path': ('__init__', VERSION, ALONE),
    'diff-sign': ('stats', 'return self.mean_variant-self.mean_baseline', 'return self.mean_baseline-self.mean_variant'),
    'interval-alpha': ('stats', 'sp.stdtrit(self.df, 1-alpha/2)', 'sp.stdtrit(self.df, 1-alpha)'),
    't-one-sided': ('stats', '2*sp.stdtr(self.df, -abs(self.value-mean)/self.se)', 'sp.stdtr(self.df, -abs(self.value-mean)/self.se)'),
    'paired-ddof': ('stats', 'x.std(ddof=1), len(x))', 'x.std(ddof=0), len(x))'),
    'welch-df': ('stats', 'sum(v*v/df for v,df in variances)', 'sum(v*v/(df+1) for v,df in variances)'),
    'student-df': ('stats', 'df = one.n+two.n-2', 'df = one.n+two.n-1'),
    'hedges': ('stats', '(1-3/(4*self.pooled.df-1))', '(1-3/(4*self.pooled.df+1))'),
    'tost-side': ('stats', '(diff-delta)/se)', '(diff+delta)/se)'),
    'tost-smaller': ('stats', 'max(self._tost)', 'min(self._tost)'),
    'wilson': ('stats', 'z*z/(4*n*n)', 'z*z/(4*n)'),
    'signflip-tail': ('stats', '- tolerance + 1)//2', '- tolerance + 2)//2'),
    'signflip-half': ('stats', 'min(1., 2*as_far.sum()', 'min(1., as_far.sum()'),
    'verdict-side': ('plan', "if low > 0: return 'better'", "if low > 0: return 'worse'"),
    'pairing-share': ('stats', '10*shared >= 8*larger', '10*shared >= 5*larger'),
    'pairs-across-env': ('runs', "comparable = ('env', ", 'comparable = ('),
    'holm-order': ('stats', 'key=lambda i: p[i])', 'key=lambda i: -p[i])'),
    'holm-family': ('stats', '((k or len(there))-rank)', '(len(there)-rank)'),
    'interval-family': ('stats', 'return self.alpha/self.family', 'return self.alpha'),
    'needed-family': ('stats', 'self.delta, self.delta, self.alpha, self.family, c.here.df+1', 'self.delta, self.delta, self.alpha, 1, c.here.df+1'),
    'raced-family': ('stats', 'min(1., family*max(map(evidence.p_of, bounds)))', 'min(1., max(map(evidence.p_of, bounds)))'),
    'noninferior-p': ('stats', "'not worse':(-delta,)", "'not worse':(0.,)"),
    'answer-within': ('plan', 'if -delta < low and high < delta:', 'if -delta < low or high < delta:'),
    'power-tail': ('plan', '1 - below + (0 if answer else far)', '1 - below'),
    'sd-upper': ('plan', 'sp.chdtri(df, conf)', 'sp.chdtri(df, 1-conf)'),
    'plan-family': ('plan', 'self.alpha/self.variants', 'self.alpha'),
    'plan-hours': ('plan', 'n*(self.variants+1)*self.minutes', 'n*self.variants*self.minutes'),
    'plan-corr': ('plan', '(2*(1-corr))', '(2*(1+corr))'),
    'seed-variance': ('stats', 'return self.var_runs-self.var_churn', 'return self.var_runs+self.var_churn'),
    'churn-ddof': ('stats', 'values.var(axis=0, ddof=1)', 'values.var(axis=0, ddof=0)'),
    'churn-images': ('stats', '-var_runs)/(values.shape[1]-1)', '-var_runs)/values.shape[1]'),
    'new-images-churn': ('stats', 'return -self.var_churn/self.n_runs', 'return self.var_churn/self.n_runs'),
    'worst-rank-sign': ('stats', 'b*1.-v*1.', 'v*1.-b*1.'),
    'worst-rank-family': ('stats', 'self.p_over_all_seeds < self.level', 'self.p_over_all_seeds < self.alpha'),
    'divergence-bound': ('stats', 'sp.betaincinv(k+1, n-k, 1-alpha/2)', 'sp.betaincinv(k+1, n-k, 1-alpha)'),
    'race-radius': ('plan', 'sd*np.sqrt((n-1)/n*(1-c)', 'sd*np.sqrt((1-c)'),
    'race-family': ('plan', 'half = half_width(n, sd, alpha/k)', 'half = half_width(n, sd, alpha)'),
    'race-equivalence': ('plan', 'math.exp(-float(log_e(self.n, self.mean, self.sd, mean)))', 'math.exp(-float(log_e(self.n, self.mean, self.sd)))'),
    'race-p-last': ('plan', '1/np.maximum.accumulate(e)', '1/e'),
    'new-images-spent': ('stats', 'self.evidence.interval(self.level/2)', 'self.evidence.interval(self.level)'),
    'race-goes-on': ('plan', 'if decided: break', 'pass'),
    'gains-order': ('stats', 'samples[v]) for b,v in _pairs_of_arms(names)]', 'samples[v]) for b,v in _pairs_of_arms(names)[::-1]]'),
    'gains-by-seed': ('stats', 'if share_runs or (n > 2 and', 'if share_runs and (n > 2 or'),
    'race-series': ('plan', 'variant = variant.reindex(baseline.index)', 'pass'),
    'copies': ('stats', 'if len(same) > 1]', 'if len(same) > 9]'),
    'turned-gains': ('questions', '    if turned: raise', '    if not turned and turned: raise'),
    'single-images': ('results', 'or {*numbers} != {0, 1}: return', 'or {*numbers} != {0, 1, 2}: return'),
    'forgotten-arm': ('study', 'for label in study.arms if label in wanted and',
        'for label in [*study.arms][:-1] if label in wanted and'),
    'seed-order': ('study', 'study.seeds[:n]==declared[:n]', '{*study.seeds[:n]}=={*declared[:n]}'),
    'blank-in-list': ('cli', "return [o.strip() for o in text.split(',')]", "return text.split(',')"),
    'too-deep': ('runs', 'if is_record(o) and not is_stray(o)]', 'if is_stray(o)]'),
    'stray-moved': ('study', 'if is_stray(path): continue', 'if not path: continue'),
    'unsaid-stray': ('folders', '_tell_of_stray(find_data(recipe, data))', 'find_data(recipe, data)'),
    'dark-grey': ('folders', '_dark = 16', '_dark = 8'),
    'tiff-turned': ('folders', "if image.format!='TIFF'", "if image.format!='tiff'"),
    'tilde': ('files', '_folder(os.path.expanduser(path))', '_folder(path)'),
    'swept-in-vain': ('sweep', "protocol.get('sweep')!=sweep.name or", ''),
    'refused-stays': ('study', 'study.arms,study.raced = before', 'study.arms,_ = before'),
    'arm-twice': ('study', 'if len(same)>1 and label', 'if len(same)>2 and label'),
    'growth-seen': ('study', 'runs_before=there.n_runs', 'runs_before=0'),
    'joined-seen': ('study', "pairs_before = there.pairs_of([a['arm'] for a in arms])", 'pairs_before = 0'),
    'joined-few': ('study', "whole.seeds = [*declared['seeds'], *seeds]", 'whole.seeds = self.seeds'),
    'asked-now': ('study', "note('asked') if c in asked else None", 'None'),
    'alone-lost': ('stats', 'if before.n_diverged + after.n_diverged > in_pairs else self', 'if False else self'),
    'alone-ranks': ('stats', 'if not contrast.any_pair_diverged: return None', 'if not contrast.any_diverged: return None'),
    'best-pairs': ('questions', "for samples,less in ((ended,''), (trained,', without runs that diverged')):", "for samples,less in ((trained,''),):"),
    'twice-asked': ('stats', 'return [*dict.fromkeys([*with_baseline, *asked])]', 'return [*with_baseline, *asked]'),
    'rank-orders': ('stats', '<= _MOST_ORDERS', '<= 0'),
    'growth-seeds': ('runs', "arms=[a['arm'] for a in arms], seeds=seeds)", "arms=[a['arm'] for a in arms], seeds=[])"),
    'pairs-before': ('study', 'pairs_before=self.read().pairs', 'pairs_before=0'),
    'study-env': ('study', 'runs_of_arms(self.root, self.arms.values(), self.env)', 'runs_of_arms(self.root, self.arms.values())'),
    'hidden-arms': ('study', '{*declared_arms} - {*study.arms}', '{*declared_arms} - {*declared_arms}'),
    'missing-note': ('study', 'if there<declared else None', 'if there<declared-1 else None'),
    'gains-studies': ('study', 'for study in (first, second) for arm in', 'for study in (second, first) for arm in'),
    'plan-from-runs': ('study', 'median(d.var() for d in differences)**.5', 'median(d.var() for d in differences)'),
    'failed-tries': ('study', 'if counts(label, r)], self.failed[label])', 'if counts(label, r)], 0)'),
    'checksum': ('runs', 'if seal!=_seal(facts):', 'if seal is not None and not _seal(facts):'),
    'path': ('runs', 'if path not in (None, run.path):', 'if path is not None and not run.path:'),
    'newer-schema': ('runs', 'schema>1', 'schema>2'),
    'overwrite': ('files', 'os.replace if over else _take_name', 'os.replace'),
    'failed-as-runs': ('runs', "return _kind(name)=='record'", "return _kind(name)!='corrupt'"),
    'bits-order': ('runs', 'np.unpackbits(packed, count=n)', "np.unpackbits(packed, count=n, bitorder='little')"),
    'seeds-as-text': ('runs', "(o.split('/')[:-1], _seed_of(o), o)", "(o.split('/')[:-1], o)"),
    'env-minor': ('runs', '-torch{major}.{minor}', '-torch{major}'),
    'chance': ('runs', 'chance + 5*(', 'chance + 3*('),
    'merge': ('runs', 'put(root, name, content)\n        return merged', 'put(root, name, content, True)\n        return merged'),
    'hash-field': ('recipes', 'fields = dataclasses.fields(self)[1:]', 'fields = dataclasses.fields(self)[2:]'),
    'byte-order-mark': ('recipes', "read_text('utf-8-sig')", "read_text('utf-8')"),
    'default': ('recipes', 'crop_min:float=0.35', 'crop_min:float=0.08'),
    'row-split': ('published', "in choices['split'] else 'v2'", "in choices['split'] else 'v1'"),
    'stream-keys': ('recipes', 'repr((int(seed),*keys))', 'repr((int(seed),*keys[:1]))'),
    'kwargs-order': ('variants', 'json.dumps(made_of, sort_keys=True)', 'json.dumps(made_of)'),
    'site-hash': ('variants', 'v.kwargs, parse_site(v.site), *(', 'v.kwargs, *('),
    'also-hash': ('variants', ', *(o.hash for o in v.also)]', ']'),
    'stage-range': ('variants', 'range(first, last+1)', 'range(first, max(last, first+1))'),
    'split-v1': ('folders', 'val = set(filter(_is_imagenet_val, files))',
        "val = {f for f in files if _is_imagenet_val(f) or _part_of(f)=='val'}"),
    'tune-share': ('folders', '[:len(of_class)//5]', '[:len(of_class)//4]'),
    'normalise': ('data', '-self.mean/self.std)', '-self.mean)'),
    'crop-bound': ('data', 'np.floor(u[:,20:22]*(room+1))', 'np.floor(u[:,20:22]*(room+[2,1]))'),
    'crop-aspect': ('data', 'math.log(16/9)*u', 'math.log(4/3)*u'),
    'flip-off': ('data', '(u[:,22]<.5) & recipe.flip', 'u[:,22]<.5'),
    'noise-val': ('data', 'part(val, map(class_of, val), False)',
        'part(val, [noisy_labels(path, recipe.noise).get(f, class_of(f)) for f in val], False)'),
    'augment-epoch': ('data', "stream(seed, 'augment', epoch)", "stream(seed, 'augment', 0)"),
    'best-epoch': ('train', 'acc=accs[-1] if finished', 'acc=max(accs) if finished'),
    'momentum': ('train', 'moms=recipe.moms, ', ''),
    'second-fit': ('train', 'self.learn.dl.epoch = self.start+self.epoch', 'self.learn.dl.epoch = self.epoch'),
    'dropout-seed': ('train', 'if module.training: self._draw_from', 'if not module.training: self._draw_from'),
    'dropout-alike': ('train', "self._draw_from('dropout', name)", "self._draw_from('dropout')"),
    'wd-norms': ('train', 'wd=recipe.wd,', 'wd=recipe.wd, wd_bn_bias=True,'),
    'one-cycle-div': ('train', 'r.lr, div=r.div, ', 'r.lr, '),
    'logit-scale': ('bottleneck', "return 1. if self.scale=='none' else (self.n_out//self.heads)**-.5",
        "return 1. if self.scale=='none' else self.n_out**-.5"),
    'softmax-axis': ('attention', '(f.mT @ g).softmax(1)', '(f.mT @ g).softmax(2)'),
    'gamma': ('attention', 'return x + self.gamma * self.attend', 'return x + self.attend'),
    'identity-at-start': ('attention', 'nn.Parameter(torch.zeros(1))', 'nn.Parameter(torch.ones(1))'),
    'symmetric-gradient': ('attention', 'S+S.mT', '2*S'),
    'second-derivative': ('attention', 'if torch.is_grad_enabled(): # a', 'if False: # a'),
    'gamma-precision': ('attention', 'torch.promote_types(D.dtype, torch.float32)', 'torch.float32'),
    'window-edge': ('local', '(offset<=lo+hi)', '(offset<lo+hi)'),
    'insertion-block': ('models', "_item(stage, what, f'block", "_item(stage, 0, f'block"),
    'layer-seed': ('models', "with _seeded(seed, 'layer', *key):", "with _seeded(seed, 'layer'):"),
    'frozen-norms': ('models', 'for m,mode in modes.items(): m.training = mode', 'model.train(modes[model])'),
    'measured-statistics': ('models', 'for buffer,held in before.items(): buffer.copy_(held)', 'pass'),
    'flops-of-calls': ('models', 'counter.get_total_flops()+sum(corrections)', 'counter.get_total_flops()+sum(corrections[:1])'),
    'no-end': ('models', '    if not around: return\n', '    return\n'),
    'gate-is-no-end': ('models', 'return pooled or seen[1]!=given[1]', 'return False'),
    'second-before-first': ('models', 'last.parent.append(layer)', 'last.parent.insert(1, layer)'),
    'norm-of-a-layer': ('models', "hasattr(m, 'inserted')", 'False'),
    'half-an-insertion': ('models', '        for m,facts in before.items():\n            vars(m)', '        for m,facts in ():\n            vars(m)'),
    'dtype-of-a-layer': ('models', 'new.to(weight.device, weight.dtype)', 'new.to(weight.device)'),
    'export-batch': ('bottleneck', 'reshape(x.shape[0], ', 'reshape(len(x), '),
    'percent-twice': ('words', 'else _decimals(x, sign, digits)', 'else _decimals(100*x, sign, digits)'),
    'arms-columns': ('report', "'± 95 %':'summary.half_width', 'sd, pp':'summary.sd', 'min", "'± 95 %':'summary.sd', 'sd, pp':'summary.half_width', 'min"),
    'runs-columns': ('report', "percent(o['acc']), percent(o['best_acc'])", "percent(o['best_acc']), percent(o['acc'])"),
    'diverged-share': ('report', 'divergence_upper(n_diverged, n)', 'divergence_upper(n_diverged, len(arm.trained))'),
    'board-order': ('board', '-score.ranked', 'score.ranked'),
    'board-reserved': ('board', 'r.seed<RESERVED', 'r.seed<=RESERVED'),
    'board-published': ('published', "dict(acc=float(row['accuracy'])/100", "dict(acc=float(row['accuracy'])"),
    'sweep-pick': ('sweep', 'max(tried, key', 'max(tried[::-1], key'),
    'plot-sign': ('plots', "ax.plot(100*diff, row, marker", "ax.plot(-100*diff, row, marker"),
    'plot-interval': ('plots', 'xerr=100*s.half_width', 'xerr=100*s.sd'),
    'exit-status': ('cli', 'return status', 'return 0'),
    'csv-baseline': ('results', 'known = [o for o in _baseline_names if o in names]', 'known = []'),
    'changed-images': ('study', '        if others: raise CliError(f"The images at {path}', '        if False: raise CliError(f"The images at {path}'),
    'fetched-early': ('study', 'or is_fetched(arm.recipe, data): continue', ': continue'),
    'whole-study': ('cli', 'return comparison(study.whole, fmt)', 'return comparison(study, fmt)'),
    'metric-spellings': ('columns', 'return plain in _metric_names or short_name(header) in _metric_names', "return plain == 'metric'"),
    'seed-cut': ('train', 'return _learner_of(read_arm((recipe, variant)), check_seed(seed), machine', 'return _learner_of(read_arm((recipe, variant)), int(seed), machine'),
    'callback-by-name': ('train', 'all(type(cb) in _between', 'all(type(cb).__name__ in {o.__name__ for o in _between}'),
    'other-flops': ('models', "return ismethod(flops) and 'n_positions' in signature(flops).parameters", 'return flops is not None'),
    'lambda-3d': ('models', "if x.device.type!='cpu': return super().forward(x)", 'return super().forward(x)'),
    'log-of-runs': ('results', '    if any(_differing(table, o) > 1 for o in _by_name(table, seed_names)): return # a run a row\n', ''),
    'unreadable-place': ('folders', 'os.path.relpath(file, path):_faults_of(file) for file in image_files(path, files)', 'name:_faults_of(file) for name,file in zip(files, image_files(path, files))'),
    'utf16-unmarked': ('formats', '> .6*len(half)', '> 6*len(half)'),
    'markdown-rule': ('formats', 'if not (comment or rule or again)', 'if not (comment or again)'),
    'header-again': ('formats', 'if not (comment or rule or again)', 'if not (comment or rule)'),
    'percent-header': ('results', 'if asked.percent or asked.says_percent:', 'if asked.percent:'),
    'error-rate': ('results', 'return 1-fractions if asked.errors else fractions', 'return fractions'),
    'mixed-by': ('results', 'if rows.arm.nunique() > 1 or not by', 'if not by'),
    'log-last': ('results', "count == count.groupby(run).transform('max')", "count == count.groupby(run).transform('min')"),
    'where-kept': ('results', 'table[plain_values(table[header]).isin(', 'table[~plain_values(table[header]).isin('),
    'largest-part': ('results', 'if size[0] > 1 and size > best:', 'if size[0] > 1:'),
    'summary-unit': ('results', "unit = 100 if (rows['mean'] > 1).any() else 1", 'unit = 1'),
    'against-one-run': ('results', 'c.sd_diff*(1+1/c.n)**.5', 'c.sd_diff*(2/c.n)**.5'),
    'against-family': ('results', 'delta, alpha, len(samples))', 'delta, alpha, 1)'),
    'lists-unequal': ('results', "of_arms = [*place.groupby(rows.arm).agg(list)]", 'of_arms = [[]]'),
    'metric-sign': ('results', 'if are_errors.all(): return replace(', 'if are_errors.all(): continue; replace('),
    'metric-loss': ('results', 'if are_losses.all(): _refuse_losses', 'if are_losses.all() and not len(names): _refuse_losses'),
    'metric-by': ('results', 'is_alike = not are_losses.any() and not are_errors.any()', 'is_alike = True'),
    'hole-closed': ('results', "any(o != of_arms[0] for o in of_arms)", 'not of_arms'),
    'log-parts': ('results', 'and n_twice([*keys, o]) < n_twice(keys):', 'and n_twice(keys) < n_twice(keys):'),
    'log-resumed': ('results', 'if several and not is_resumed and', 'if several and'),
    'short-ignored': ('results', 'if o not in ignored and runs.duplicated(o, keep=False).all()]', 'if runs.duplicated(o, keep=False).all()]'),
    'best-machines': ('questions', 'if differ: raise ValueError(', 'if False: raise ValueError('),
    'worker-hangs': ('engines', 'try: self.process.join(LAST_SECONDS)', 'try: self.process.join()'),
    'argument-inf': ('variants', 'json.dumps(v.kwargs, allow_nan=False)', 'json.dumps(v.kwargs)'),
    'white-is-zero': ('folders', 'if white_is_zero: levels = 255-levels', 'if False: levels = 255-levels'),
    'lists-epochs': ('results', 'if are_epochs or _all_rise(rows):', 'if _all_rise(rows):'),
    'log-starts': ('results', 'if starts.nunique() < 2: continue', 'continue'),
    'corner-error': ('results', 'is_less_better(short_name(corner))', 'False'),
    'two-of-each': ("results", "if not is_each or not {*kinds} <= _of_metrics: continue", 'continue'),
    'seed-twice': ('results', 'if other == header: continue', 'continue'),
    'version-number': ('columns', 'if is_versioned(column.name): return', 'if not len(column): return'),
    'hash-infinite': ('columns', "if abs(number) == float('inf') and", "if number is None and"),
    'seeds-as-arm': ('formats', 'are_seeds = isinstance(seeds, list) and', 'are_seeds = False and'),
    'sum-of-all': ('rows', '_made_of_two(x, near) | _made_of_all(x, near, table.columns)', '_made_of_two(x, near)'),
    'summary-word': ('rows', 'if is_summary(seed):', 'if seed in summary_words:'),
    'one-error-turns-all': ('results', 'len(say_so) == len(headers)', 'len(say_so) > 0'),
    'label-is-metric': ('results', 'if {o.strip().casefold(), short_name(o)} & {*_free_labels}: return beside_value', 'if {o.strip().casefold(), short_name(o)} & {*_free_labels}: return True'),
    'object-unheld': ('variants', "held = _network(o, seen) if hasattr(o, '_parameters') else _held(o, seen)", "held = ''"),
    'hash-by-use': ('variants', 'if kind.startswith(_by_kind): return kind', 'pass'),
    'decorator-unheard': ('variants', "if isinstance(o, partial): return identity([o.func, o.args, o.keywords], seen)", "if isinstance(o, partial): return 'partial'"),
    'module-behind': ('variants', "return '\\n'.join([text, *_sources(imports, package, seen)])", 'return text'),
    'in-place-package': ('variants', "(not spec or 'site-packages' in str(spec.origin or ''))", 'True'),
    'late-weights': ('models', "with _seeded(seed, 'layer', 'first image'): _try", '_try'),
    'numpy-unseeded': ('models', 'np.random.seed(number % 2**32)', 'pass'),
    'map-lost': ('models', "if given is not None and seen[kept]==given[kept]: continue", "if role=='replaced' or seen==given: continue"),
    'paired-false': ('stats', 'return bool(paired)', 'return None if paired is not False else False'),
    'declaration-gone': ('study', 'if read_declaration(study.root, study.name): return', 'return'),
    'key-twice': ('files', 'object_pairs_hook=each_once', 'object_pairs_hook=dict'),
    'diverged-flag': ('rows', "'diverged' if name == 'diverged' else 'failed'", "'failed'"),
    'some-percent': ('results', 'if units.any(): asked.refuse', 'if units.all(): asked.refuse'),
    'percent-fraction': ('results', 'len(above) and above.min() < 1', 'len(above) and above.min() < 0'),
    'member-outside': ('folders', "if '..' in path.parts:", "if path.parts[:1]==('..',):"),
    'archive-checksum': ('folders', '.split()[:1]!=[file_digest(archive)]', '.split()[:1]==[]'),
    'archive-end': ('folders', 'if tar.fileobj.read(tarfile.BLOCKSIZE)!=tarfile.NUL*tarfile.BLOCKSIZE:', 'if not tar.fileobj:'),
    'split-seed': ('folders', "_digest(f'{seed} {content}')", "_digest(f'0 {content}')"),
    'split-copies': ('folders', 'groupby(files, file_digest)', 'groupby(files, str)'),
    'list-new': ('folders', 'if new or gone:', 'if gone:'),
    'class-in-val': ('folders', 'itertools.permutations(classes, 2)', 'itertools.combinations(classes, 2)'),
    'unverified': ('folders', "recipe.source if fetched else f'{recipe.source}-unverified'", 'recipe.source'),
    'fingerprint-sizes': ('folders', '_digest(json.dumps(list_images(path)))',
        '_digest(json.dumps([f for f,_ in list_images(path)]))'),
    'too-many-images': ('folders', 'if have[part]>n:', 'if have[part]>2*n:'),
    'grey-16': ('folders', 'astype(np.int64)+128)//257', 'astype(np.int64))//257'),
    'noise-v1': ('folders', "if recipe.split.endswith('v1'):", "if recipe.split=='tune-v1':"),
    'duplicates-parts': ('folders', 'len({*map(_part_of, o)})>1', 'len({*map(_part_of, o)})>2'),
    'hidden-files': ('folders', "if not o.name.startswith('.') and o.name", 'if o.name'),
    'name-above': ('files', "part in ('','.','..')", "part in ('','.')"),
    'link-on-the-way': ('files', '        path = path/part\n        _refuse_link(path)',
        '        path = path/part\n    _refuse_link(path)'),
    'half-file': ('files', 'beside.unlink(missing_ok=True)\n        raise', 'raise'),
    'answer-lost': ('files', 'if not n_before or get(root, name)!=content: raise', 'if not n_before: raise'),
    'no-patience': ('files', 'in (*(pauses if again else ()), None):', 'in (None,):'),
    'patience-in-vain': ('files', "if pause is None or getattr(e, 'errno', None) in _stays:", 'if pause is None:'),
    'object-denied': ('files', "if _is_listed(root, key): raise OSError(errno.EIO, 'it is listed",
        "if not key: raise OSError(errno.EIO, 'it is listed"),
    'tidy-alive': ('files', 'if is_alive(int(left[1] or left[2])): continue', 'if not left: continue'),
    'too-large': ('files', 'if len(content)>most_bytes and not any_size: raise CliError', 'if len(content)>2*most_bytes: raise CliError'),
    'strange-links': ('files', "if kind!='file' and (is_last or not kind)", "if kind!='file' and is_last"),
    'best-epoch-last': ('runs', '1+accs.index(highest)', 'len(accs)-accs[::-1].index(highest)'),
    'surplus-bits': ('runs', 'lambda run: not _surplus(run)', 'lambda run: True'),
    'bits-against-acc': ('runs', 'if round(run.acc*run.n_images)!=n_right:', 'if round(run.acc*run.n_images)>n_right:'),
    'recipe-hash': ('runs', 'if run.recipe_hash not in _recipe_hashes(run.recipe):', 'if not _recipe_hashes(run.recipe):'),
    'failure-place': ('runs', "if place!=re.sub(r'\\.failed-\\d+\\.json$', '.json', name) or ", 'if '),
    'growth-order': ('runs', 'return sorted(files, key=_seed_of)', 'return sorted(files)'),
    'growth-alone': ('runs', "if before and before not in merged.done:",
        'if before and not merged:'),
    'stopped-early': ('runs', 'len(self.history)<self.recipe.get', 'len(self.history)<=self.recipe.get'),
    'second-gpu': ('runs', '(gpus_here()[number:] or [None])[0]', '(gpus_here() or [None])[0]'),
    'changed-source': ('runs', "'+'*bool(changed)", "''"),
    'failed-tries-of-arm': ('runs', "if _kind(o)=='failed')", "if _kind(o)!='record')"),
    'decimal-comma': ('columns', "text = text.replace(',', '.')", "text = text.replace(',', '')"),
    'thousands': ('columns', '(,\\d{3})+', '(,\\d{3}){2,}'),
    'seed-twice': ('rows', 'twice = runs[runs.duplicated(key, keep=False)]',
        "twice = runs[runs.duplicated([*key,'acc'], keep=False)]"),
    'mean-first': ('rows', "found = ['mean'] if abs(", "found = ['mean'] if at and abs("),
    'block-twice': ('rows', 'n*n/2*same**length < .1', 'n*n/2*same**length < 1e-9'),
    'unfinished': ('rows', "runs[runs.status != 'unfinished'].drop", 'runs.drop'),
    'setting': ('columns', 'return not _may_be_chosen(header, values, arms)', 'return True'),
    'arms-alike': ('rows', 'if not o.isspace() and unicodedata', 'if unicodedata'),
    'outlier': ('stats', 'if len(sample) < 3: return []', 'return []'),
    'few-runs': ('stats', '2 <= o.n <= 3', '2 <= o.n < 3'),
    'recipes-mixed': ('stats', "('recipe_hash', 'variant_hash', 'fingerprint')", "('variant_hash', 'fingerprint')"),
    'new-images-narrower': ('plan', 'max(self.high-self.low, other.high-other.low)/2', '(self.high-self.low)/2'),
    'pair-order': ('stats', 'variant.take([i for _,i in rows])', 'variant.take(sorted(i for _,i in rows))'),
    'bits-order-of-runs': ('stats', 'rounding = .006', 'rounding = .6'),
    'mcnemar': ('stats', 'sp.bdtr(min(b,c), b+c, 0.5)', 'sp.bdtr(max(b,c), b+c, 0.5)'),
    'ties': ('stats', 'float(wins + 0.5*ties)/of', 'float(wins)/of'),
    'largest-env': ('stats', 'rows = max(groups.values(), key=len, default=[])',
        'rows = min(groups.values(), key=len, default=[])'),
    'plan-equivalence': ('plan', 'self._alpha/2, self.paired, grown, answer=True)', 'self._alpha, self.paired, grown, answer=True)'),
    'plan-grown': ('plan', 'half_width(n, 1., alpha)*math.sqrt(n)', 'half_width(n, 1., alpha)'),
    'decided-at': ('plan', 'decided_at=decided+1', 'decided_at=decided'),
    'second-question': ('plan', 'return p if alone else min(1., 5*p)', 'return p'),
    'evidence': ('plan', 'np.log(r)/2 + n/2', 'np.log(r) + n/2'),
    'plan-upper-df': ('plan', 'sd_upper(self.sd_diff, self.n_sd-1))', 'sd_upper(self.sd_diff, self.n_sd))'),
    'prediction': ('questions', 'self.se*math.sqrt(self.k+1)', 'self.se*math.sqrt(self.k)'),
    'two-studies': ('questions', 'return second-first', 'return first-second'),
    'shared-studies': ('questions', 'if copied: raise ValueError', 'if shared and not copied: raise ValueError'),
    'pool-raced': ('questions', 'if c.sequential:\n', 'if c.sequential and c.why:\n'),
    'pool-diverged': ('questions', 'if c.any_diverged: raise', 'if c.any_diverged and c.why: raise'),
    'hsu-others': ('questions', 'np.where(others & may_be, diff-half, np.inf)', 'np.where(others, diff-half, np.inf)'),
    'hsu-family': ('questions', '1-self.alpha/(self.k-1))', '1-self.alpha)'),
    'winner-interval': ('questions', 'interval(self.alpha/self.k)', 'interval(self.alpha)'),
    'between-few': ('questions', 'min(c.n for c in self.studies) < 20', 'min(c.n for c in self.studies) < 5'),
    'middle-corner': ('train', 'row,column = (size//2 for size in conv.kernel_size)', 'row,column = (0 for size in conv.kernel_size)'),
    'middle-float32': ('train', "if recipe.precision=='bfloat16' and not recipe.compile: cbs.append(MiddleOfKernels())", 'if not recipe.compile: cbs.append(MiddleOfKernels())'),
    'middle-stays': ('train', "vars(conv).pop('_conv_forward', None)", "vars(conv).get('_conv_forward', None)"),
    'adam-order': ('optimisers', 'return [o.permute(0, 2, 3, 1) if channels_last and fills_vectors else o for o in (param, *others)]',
        'return [o.permute(0, 3, 2, 1) if channels_last and fills_vectors and o is not param else o for o in (param, *others)]'),
    'adam-tails': ('optimisers', 'fills_vectors = param.numel()%16==0', 'fills_vectors = True'),
    'lost-parked': ('runs', 'raise CliError(f"{why} Nor can a record wait', 'raise Parked(f"{why} Nor can a record wait'),
    'hidden-records': ('files', 'and bool(deeper or not _is_hidden(name))', ''),
    'folders-hold': ('files', 'if entry.is_dir(follow_symlinks=False): yield from _shown_files(entry.path, below=True)', 'if False: yield'),
}

# Faults of what the rewritten library no longer does, and the faults that stand in their place
REPLACED = {'pocock-spent':'new-images-spent', 'capped-goes-on':'race-goes-on', 'maxt-raced':'answer-within'}

NO_IMPORT = {'import'} # here a test that cannot be collected is what is wanted

# ---- running them

@dataclass(frozen=True)
class Fault:
    "One text of one module changed, and the tests that should notice"
    name:str
    what:str      # What is broken, in one sentence
    module:str    # Of simpleattn
    before:str    # Text that stands in it exactly once
    after:str     # Text that takes its place
    tests:tuple   # Node ids below tests/

def faults()->list: # In the order of `FAULTS`
    "The two tables as one list"
    if odd := FAULTS.keys() ^ CHANGES.keys(): raise SystemExit(f"Only in one of the two tables: {', '.join(sorted(odd))}.")
    def node(test): return 'test_{}.py::test_{}'.format(*test.split('::'))
    return [Fault(name, what, *CHANGES[name], tuple(map(node, tests))) for name,(what,tests) in FAULTS.items()]

def seeded(fault:Fault, text:str)->str: # The module with the fault
    "Change `text`; raises `ValueError` where the fault does not fit it"
    n = text.count(fault.before)
    if n!=1: raise ValueError(f"{fault.name}: {fault.module}.py holds {fault.before!r} {n} times, not once")
    changed = text.replace(fault.before, fault.after)
    if changed==text: raise ValueError(f"{fault.name}: the change changes nothing")
    compile(changed, fault.module, 'exec')
    return changed

LINKED = 'settings.ini nbs runs benchmarks README.md CHANGELOG.md CONTRIBUTING.md pyproject.toml constraints.txt'.split()

def build(house:Path):
    "A folder that the tests take for the repository; `furnish` puts the library into it"
    shutil.copytree(HOME/'tests', house/'tests', ignore=shutil.ignore_patterns('__pycache__', '.*'))
    for name in LINKED:
        if (HOME/name).exists(): (house/name).symlink_to(HOME/name)
    if (HOME.parent/'shared').is_dir(): (house.parent/'shared').symlink_to(HOME.parent/'shared')

def furnish(house:Path, fault:Fault=None):
    "A fresh copy of the library, with a fault in it"
    shutil.rmtree(house/'simpleattn', ignore_errors=True)
    shutil.copytree(HOME/'simpleattn', house/'simpleattn', ignore=shutil.ignore_patterns('__pycache__'))
    if fault is None: return
    module = house/'simpleattn'/f'{fault.module}.py'
    module.write_text(seeded(fault, module.read_text()))

def pytest_in(house:Path, tests, *options, limit=LIMIT)->tuple: # Exit status, output
    "Run tests on the library of `house`, in this process and in those that it starts"
    env = {**os.environ, 'PYTHONPATH':str(house), 'COLUMNS':'400', 'OMP_NUM_THREADS':'1', 'CUDA_VISIBLE_DEVICES':''}
    pytest = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '-rfE', '--tb=line', '--disable-warnings']
    p = subprocess.Popen([*pytest, *options, *(f'tests/{o}' for o in tests)], cwd=house, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try: out = p.communicate(timeout=limit)[0]
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGKILL)
        return 124, p.communicate()[0]
    return p.returncode, out

def judge(fault:Fault, house:Path, limit=LIMIT)->dict: # caught, seconds, by: the test that failed, why
    "Seed a fault and see who notices"
    t0 = time.perf_counter()
    furnish(house, fault)
    code,out = pytest_in(house, fault.tests, '-x', limit=limit)
    said = re.search(r'^(?:FAILED|ERROR) tests/(.+?)(?: - (.*))?$', out, re.M)
    no_import = fault.name in NO_IMPORT and 'ImportError: seeded' in out # status 4: pytest finds no test in the file
    if code not in (0,1) and not no_import: raise RuntimeError(f"{fault.name}: pytest ended with status {code}\n{out[-2000:]}")
    seconds = round(time.perf_counter()-t0, 1)
    return dict(caught=code!=0, seconds=seconds, by=said and said[1], why=said and (said[2] or '').replace(sys.executable, 'python')[:160]) # no path of a machine

def sound(chosen, house:Path)->bool: # Do they pass?
    "The tests of some faults on the library as it is"
    furnish(house)
    code,out = pytest_in(house, dict.fromkeys(t for f in chosen for t in f.tests), limit=None)
    print(out)
    return code==0

def run(chosen, record=None, house:Path=None)->int: # How many were not caught
    "Every chosen fault, a line each"
    found = {}
    for f in chosen:
        try: o = judge(f, house)
        except (ValueError, SyntaxError, RuntimeError) as e: o = dict(caught=None, seconds=0., by=None, why=str(e))
        found[f.name] = o
        word = 'ERROR' if o['caught'] is None else 'caught' if o['caught'] else 'NOT caught'
        print(f"{word:<11} {f.name:<20} {o['seconds']:5.1f} s  {o['by'] or ''}  {o['why'] or ''}", flush=True)
        if record: Path(record).write_text(json.dumps(found, indent=1)+'\n')
    bad = [name for name,o in found.items() if not o['caught']]
    seconds = sum(o['seconds'] for o in found.values())
    print(f"{len(found)-len(bad)} of {len(found)} faults caught in {seconds:.0f} s" + f"; not: {', '.join(bad)}"*bool(bad))
    return len(bad)

def main(argv=None)->int: # Exit status
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('names', nargs='*', help='some faults; all if none is named')
    p.add_argument('--module', help='those of one module')
    p.add_argument('--list', action='store_true', help='name them and run none')
    p.add_argument('--sound', action='store_true', help='run their tests on the library as it is')
    p.add_argument('--record', help='a JSON file for what was found')
    a = p.parse_args(argv)
    every = {f.name:f for f in faults()}
    if odd := [o for o in a.names if o not in every]: p.error(f"no fault {', '.join(odd)}. Choose from: {', '.join(every)}")
    chosen = [f for f in every.values() if (not a.names or f.name in a.names) and a.module in (None, f.module)]
    if a.list:
        for f in chosen: print(f"{f.name:<20} {f.module:<11} {f.what}")
        print(f'{len(chosen)} faults')
        return 0
    with tempfile.TemporaryDirectory(prefix='faults-') as tmp:
        (house := Path(tmp)/'house').mkdir()
        build(house)
        return 0 if (sound(chosen, house) if a.sound else not run(chosen, a.record, house)) else 1

if __name__=='__main__': sys.exit(main())
