"""CamemBERT (Martin et al., 2019): RoBERTa for French, with a Unigram vocabulary."""

from collections.abc import Mapping

from connection.encoder.families.roberta import Roberta


class Camembert(Roberta):
    name = "CamemBERT"
    config_class, model_class = "CamembertConfig", "CamembertModel"
    tokenizer_classes: Mapping[str, str] = {}


FAMILY = Camembert()
