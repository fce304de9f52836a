"""Writes json_errors.json: JSON texts, and what CPython 3.11's decoder says of each in UTF-8.

    python3.11 json_errors.py

`json.loads` passes over a byte order mark in bytes, and refuses one in a `str`. What else it takes for UTF-16 or UTF-32, by
its zero bytes, is UTF-8 here too. A row has the decoder's message and offset, or null for both where the text is valid. Texts that the
decoder accepts and RFC 8259 does not have no row.
"""

import json
import math
import sys
from pathlib import Path

BODIES = [
    '{"tags":[{"tag_id":"Python","description":null}]}',
    ' { "tags" : [ { "tag_id" : "Пайтон 🐍" } ,\t7 ] }\r\n',
    '{"\\u00e9":"\\"\\\\\\/\\b\\f\\n\\r\\t","é":"\\ud83d\\uDE00"}',
    "[0,-1,2.5,-0.25e3,4E+12,5e-6,10,{}]",
    "[true,false,null,[],{},[[{}]],\"\"]",
]

SUBSTITUTES = ['"', "\\", ",", "]", "}", ":", "x", "0", "é", "\n", "-", "\x00"]

BY_HAND = [
    # Expecting value
    "", " ", "\t\n\r ", "\u00a0", "\v1", "\f", "x", "é", " é", "'a'", "]", "}", ",", ":", "/",
    "nul", "nulL", "Null", "tru", "True", "fals", "None", "undefined", "Na", "Nan", "Inf",
    "Infinit", "-", "--1", "-x", "-I", "-Inf", "-Infinit", "-NaN", "+1", ".5", "-.5", "e5",
    "[", "[ ", "[\n", "[,", "[,]", "[1,", "[1, ", "[1,]", "[1 , ]", "[1,,2]", "[x]", "[[],]",
    "[-]", "[+1]", "[.5]", '["é",', '["🐍", ]', "[nul]", "[1,2,x]", "// c", "/**/1", "[1,//\n2]",
    '{"a":', '{"a": ', '{"a":}', '{"a":,}', '{"a"::1}', '{"a":x}', '{"é":é}', '{"a":[', '{"a":{"b":',
    "[\ufeff]", " \ufeff1", "\u20281",
    # Expecting property name enclosed in double quotes
    "{", "{ ", "{,", "{,}", "{]", "{x", "{x:1}", "{1:2}", "{'a':1}", "{:1}", "{{}}", "{[]:1}",
    '{"a":1,', '{"a":1, ', '{"a":1,}', '{"a":1 ,\n}', '{"a":1,,"b":2}', '{"é":"🐍",}', '{"a":1,b:2}',
    "{null:1}", '[{"a":1},{]', "{\u00a0}",
    # Expecting ':' delimiter
    '{"a"', '{"a" ', '{"a"}', '{"a",', '{"a" 1}', '{"a"=1}', '{"a" "b"}', '{"é" }', '{"🐍"\n\n;', '{""}',
    '{"a"\u00a0:1}',
    # Expecting ',' delimiter
    "[1", "[1 ", "[1}", "[1 2]", "[1:2]", "[01]", "[1.]", "[1e]", "[1e+]", "[1.e5]", "[0x1]", "[1_0]",
    "[truefalse]", "[nullx]", '["a""b"]', '["é" "é"]', '["a"b', "[[]", "[[][]]", "[{}{}]", "[{} é]",
    '{"a":1', '{"a":1 ', '{"a":1]', '{"a":1 "b":2}', '{"a":1;', '{"a":01}', '{"a":"b" "c"}', '{"é":"é"é',
    '{"a":{}', '{"a":[]', '{"a":[}', '{"a":[1}', '[{"a":1]', '[1\u00a0,2]', "[-01]", "[-0.]", "[1-1]",
    "[1١]", "[NaN1]", "[-Infinity-]", "[1e999x]",
    # Extra data
    "1 2", "1,", "1,2", "01", "00", "-01", "1.", "-1.", "1.x", "1..2", "1.2.3", "1e", "1E", "1e+", "1e-",
    "1ex", "1e+x", "1e5.5", "1e5e5", "1.e5", "0x10", "1_000", "1a", "12é", "1١", "0.5.", "5.0e", "5.0e-",
    "truex", "true false", "nullnull", "NaNNaN", "Infinity1", "-Infinityx", '""""', '"a"b', '"é"é',
    '"🐍" 🐍', "[]]", "[],", "{}}", "{},", "{} {}", "[] \n x", "1\v", "1\u00a0", "{}\x00", "{}\ufeff",
    "null;", "\n\n1\n\n2",
    # Unterminated string starting at
    '"', ' "', '"a', '"é', '"\\', '"a\\', '"\\"', '"\\\\\\"', '"\\ud83d\\', '"\\n', '["', '["a', '["a","',
    '["é","b]', '{"', '{"a', '{"a\\', '{"a":"', '{"a":"b', '{"é":"b}', '{"a":"b","', '"🐍',
    # Invalid control character at
    '"\n"', '"\x00"', '"\x1f"', '"a\tb"', '"é\rb"', '"🐍\x0b', '{"a\n":1}', '{"a":"\n', '["\x1b"]',
    '"\\n\n"', '"\x01\\x"',
    # Invalid \escape
    '"\\x"', '"\\ "', "\"\\'\"", '"\\0"', '"\\U0041"', '"\\é"', '"\\🐍"', '"\\\n"', '"\\\x00"', '"\\x',
    '"é\\a"', '{"\\q":1}', '["a\\v"]', '"\\N"', '"\\x\n"', '"\\\\\\y"',
    # Invalid \uXXXX escape
    '"\\u', '"\\u"', '"\\u1', '"\\u12', '"\\u123', '"\\u1234', '"\\u123"', '"\\u12"', '"\\u12 4"',
    '"\\uxxxx"', '"\\u123g"', '"\\u-123"', '"\\u+123"', '"\\u 123"', '"\\u0x12"', '"\\u12_3"', '"\\u{41}"',
    '"\\ué"', '"\\u123é"', '"\\u12é4"', '"\\u🐍🐍🐍🐍"', '"\\u١٢٣٤"', '"é\\u00g0"', '"\\u00e9\\u00g0"',
    '"\\ud83d\\u', '"\\ud83d\\u"', '"\\ud83d\\ude', '"\\ud83d\\ude0', '"\\ud83d\\ude00', '"\\ud83d\\ude0"',
    '"\\ud83d\\uzzzz"', '"\\ud83d\\uzzz', '{"\\u":1}', '["\\u00"]', '"\\ud83d', '"\\ud83d\\ud83d\\uzzzz"',
    # A byte order mark
    "\ufeff", "\ufeff1", "\ufeff{}", "\ufeff[", "\ufeff\ufeff", "\ufeff\ufeff1", "\ufeff \x00", "\ufeff1 2",
    '\ufeff{"é":1', '\ufeff[1,\ufeff2]', "\ufeff\r\n{}", "\r\n\ufeff{}",
    # A later error, after what only CPython accepts
    "[NaN,]", "[Infinity", "[-Infinity,x]", '["\\ud800"', '["\\udc00",]', '{"a":NaN', "[1e999", "NaN x",
    '["\\ud800","\\x"]', "[-1e999 1]",
    # Valid
    "0", "-0", "1", "-1", "10", "0.5", "-0.0", "1e5", "1E5", "1e+5", "1e-5", "1.5E-10", "0e0", "0e999",
    "1e-999", "123456789012345678901234567890", "1e308", "1.7976931348623157e308", "true", "false", "null",
    '""', '"a"', '"é"', '"🐍"', '"\x7f"', '"\u2028\u2029"', '"\ufeff"', '"\\u0000"', '"\\uABCD\\uabcd"',
    '"\\ud83d\\ude00"', '"\\uD83D\\uDE00x"', '"\\ud7ff\\ue000"', '"\\u005c"', '"\\u0022"', '"\\/"',
    "[]", "[ ]", "{}", "{ }", "[\n]", "{\t}", " [ 1 , 2 ] ", '{"a":1,"a":2}', '{"":{}}', "\r\n{}\r\n",
    "[[[[[[[[]]]]]]]]", '{"a":{"b":{"c":[]}}}', '["]","}",",",":"]', '{"a":"}"}',
]


def texts():
    yield from BY_HAND
    for body in BODIES:
        yield body
        for place in range(len(body)):
            before, after = body[:place], body[place + 1:]
            yield before
            yield before + after
            for step in range(2):
                substitute = SUBSTITUTES[(2 * place + step) % len(SUBSTITUTES)]
                yield before + substitute + after


def row(text):
    """None where the decoder accepts what RFC 8259 does not, or what no binary64 number holds."""
    beyond_rfc = []

    def number(digits):
        value = float(digits)
        if math.isinf(value):
            beyond_rfc.append(digits)
        return value

    decoder = json.JSONDecoder(parse_constant=beyond_rfc.append, parse_float=number)
    try:
        value = decoder.decode(text.encode("utf-8").decode("utf-8-sig"))
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        return {"text": text, "offset": error.pos, "message": error.msg}
    except UnicodeEncodeError:
        return None
    return None if beyond_rfc else {"text": text, "offset": None, "message": None}


def main():
    if sys.version_info[:2] != (3, 11):
        sys.exit("the decoder must be that of CPython 3.11")
    rows = [json.dumps(found) for text in dict.fromkeys(texts()) if (found := row(text))]
    target = Path(__file__).with_suffix(".json")
    target.write_text("[\n" + ",\n".join(rows) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
