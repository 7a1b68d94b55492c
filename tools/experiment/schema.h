// Schema: checks a JSON value against a JSON Schema and fills in defaults. The schema of experiments is
// docs/experiment.schema.json, compiled into the program, so that the page a user reads and the check cannot disagree.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace hp {

// The subset of JSON Schema 2020-12 in use: type, properties, required, additionalProperties: false, items, enum,
// default, minLength, minItems, minimum, maximum, exclusiveMinimum, exclusiveMaximum. Returns the value with every
// default filled in. Throws hp::Error with one line: "[experiment] /probes/1/los: unknown key; got ...; expected ...
// (did you mean ...?)".
nlohmann::json checked(const nlohmann::json& schema, const nlohmann::json& value);

const nlohmann::json& experiment_schema();

// Parses JSON text; refuses duplicate keys. Throws hp::Error with line and column, naming `where`.
nlohmann::json parse_json(std::string_view text, const std::string& where);

}  // namespace hp
