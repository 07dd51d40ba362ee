"""The language of answers with digits and signs in scripts that are written with and without spaces."""

import time

import pytest
from filter_rows import dropped, keeps, made, row_of

from stillhouse.datasets.filters import language
from stillhouse.datasets.filters.language import prose

WITH_DIGITS = {
    "zh": [
        "中国有56个民族，很多不同的语言，每个地方都有自己的饮食、音乐和节日，北方冬天很冷，南方夏天很热。",
        "这个函数返回x=1，如果列表为空则返回None，详情请看https://example.org/zh/docs这个页面的说明。",
        "价格从2019年的$5涨到了$10，增长率是100%。",
    ],
    "ja": [
        "2024年の日本の人口は約1億2400万人であり、東京には1400万人以上が住んでいます。",
        "この関数はfoo(x)を呼び出して、結果をlist[0]に入れます。エラーなら-1を返します。",
    ],
    "th": ["ประเทศไทยมีประชากร70ล้านคนและมีวัฒนธรรมที่หลากหลายมากมายในทุกภูมิภาค"],
    "hi": ["भारत में 28राज्य हैं और जनसंख्या 140करोड़ से अधिक है, यह 2011की जनगणना/रिपोर्ट में लिखा है।"],
    "ru": ["В 2024-м году население города выросло на 12%, а цены/тарифы поднялись на 5.5% к маю."],
    "ko": ["2024년에는인구가5100만명이었고서울에는940만명이살고있습니다."],
}
TOKENS = [
    ("Use rsync -avz src/ dest/ now", ["Use", "rsync", "now"]),
    ("call foo_bar and foo(x) or a[0] of os.path", ["call", "and", "or", "of"]),
    ("a plan, 5 of them. It holds", ["a", "plan,", "of", "them.", "It", "holds"]),
    ("中国有56个民族 with 3rd x=1", ["中国有", "个民族", "with"]),
    ("со 2024-м года, кафе/бар и -то", ["со", "года,", "кафе", "бар", "и", "то"]),
    ("α=0.5 and λ=2", ["and"]),
    ("请看https://example.org/a/b，然后继续", ["请看", "，然后继续"]),
]


@pytest.mark.parametrize(("own", "text"), [(own, text) for own, many in WITH_DIGITS.items() for text in many])
def test_digits_and_signs_hide_no_language(own, text):
    assert keeps({"language": [own]}, row_of(text))
    for other in {"en", "de", "ja", "zh", "ru"} - {own}:
        assert not keeps({"language": [other]}, row_of(text))


def test_no_answer_with_a_number_passes_for_another_language():
    answers = [f"这座城市建于{1000 + i}年，有很多古老的街道和美丽的花园，居民们喜欢在傍晚散步聊天。" for i in range(50)]
    assert len(dropped({"language": ["en"]}, answers)) == 50 and dropped({"language": ["zh"]}, answers) == []


@pytest.mark.parametrize(("text", "words"), TOKENS)
def test_what_is_left_of_a_text(text, words):
    assert prose(text).split() == words


def test_prose_ends_where_enough_is_read():
    assert len(prose("word " * 5_000)) == len(prose("字" * 5_000)) == 600


@pytest.mark.parametrize("piece", ["中文", "字1", "a", "w(", "a.b", "ж-", "aж", "x_", "हि1", "а1 "])
def test_each_character_is_looked_at_a_few_times(piece, monkeypatch):
    """A run without spaces of any length: the square of 20,000 characters would take seconds."""
    monkeypatch.setattr(language, "_LOOKED_AT", 200_000)
    text = (piece * 200_000)[:200_000]
    started = time.process_time()
    made({"language": ["en"]}).keep(row_of(text))
    assert time.process_time() - started < 5  # the square would take ten minutes, one pass takes a tenth of a second
