"""XLM-RoBERTa (Conneau et al., 2019): RoBERTa for 100 languages, with a Unigram vocabulary of 250,002 pieces."""

from collections.abc import Mapping

from connection.encoder.families.roberta import Roberta


class XlmRoberta(Roberta):
    name = "XLM-RoBERTa"
    config_class, model_class = "XLMRobertaConfig", "XLMRobertaModel"
    tokenizer_classes: Mapping[str, str] = {"vocab.txt": "BertTokenizer"}


FAMILY = XlmRoberta()
