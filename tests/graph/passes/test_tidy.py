import numpy as np
from networks import Builder, assert_computes_the_same, node_types
from onnx import TensorProto, helper

IMAGE = [1, 4, 6, 6]


def test_dropout_and_identity_are_taken_out(load):
    b = Builder()
    t = b.node("Identity", b.node("Dropout", b.node("Relu", "x"), b.constant(np.float32(0.5))))
    b.conv(b.node("Dropout", t, outputs=2), (4, 3), output="y")
    proto = b.model({"x": IMAGE}, ["y"])
    loaded = load(proto)
    assert node_types(loaded) == ["Relu", "Conv"]
    assert_computes_the_same(loaded, proto)


def test_a_dropout_whose_mask_is_an_output_stays(load):
    b = Builder()
    b.conv(b.node("Dropout", "x", outputs=2, output="d"), (4, 3), output="y")
    assert node_types(load(b.model({"x": IMAGE}, ["y", "d_1"]))) == ["Dropout", "Conv"]


def test_dropout_in_training_mode_stays(load):
    b = Builder()
    training = b.constant(np.True_)
    b.conv(b.node("Dropout", "x", b.constant(np.float32(0.5)), training), (4, 3), output="y")
    assert "Dropout" in node_types(load(b.model({"x": IMAGE}, ["y"])))


def test_an_output_that_is_the_input_passed_on_stays(load):
    b = Builder()
    b.conv("x", (4, 3), output="y")
    b.node("Dropout", "x", output="z")
    proto = b.model({"x": IMAGE}, ["y", "z"])
    assert_computes_the_same(load(proto), proto)


def test_nodes_without_a_name_get_one_from_their_output(load):
    b = Builder()
    b.node("Relu", b.conv("x", (4, 4), output="first"), output="second")
    b.conv("second", (4, 3), output="third", name="kept")
    names = [node.name for node in load(b.model({"x": IMAGE}, ["third"])).model.graph]
    assert names == ["Conv_first", "Relu_second", "kept"]


def test_of_nodes_with_one_name_each_gets_its_own(load):
    b = Builder()
    for i in range(4):
        b.node("Exp", f"r{i - 1}" if i else "x", output=f"r{i}", name="exp" if i else "")
    names = [node.name for node in load(b.model({"x": IMAGE}, ["r3"])).model.graph]
    assert names[:2] == ["Exp_r0", "exp"]
    assert len(set(names)) == 4


def test_a_dropout_that_the_caller_switches_stays(load):
    b = Builder()
    b.conv(b.node("Dropout", "x", b.constant(np.float32(0.5)), "training"), (4, 3), output="y")
    proto = b.model({"x": IMAGE, "training": []}, ["y"])
    proto.graph.input[1].type.tensor_type.elem_type = TensorProto.BOOL
    assert "Dropout" in node_types(load(proto))


def test_nodes_inside_a_branch_share_no_name_with_those_outside(load):
    b = Builder()
    b.conv("x", (4, 4), output="a", name="same")
    condition = b.node("Greater", b.node("ReduceSum", "x", keepdims=0), b.constant(np.float32(0)))
    branches = []
    for op in ("Neg", "Abs"):
        node = helper.make_node(op, ["a"], [op], name="same")
        end = helper.make_tensor_value_info(op, TensorProto.FLOAT, IMAGE)
        branches.append(helper.make_graph([node], op, [], [end]))
    b.node("If", condition, output="y", then_branch=branches[0], else_branch=branches[1])
    proto = b.model({"x": IMAGE}, {"y": IMAGE})
    loaded = load(proto)
    names = [node.name for node in loaded.model.graph.all_nodes()]
    assert len(set(names)) == len(names)
    assert loaded.model.graph[0].name == "same"
    assert_computes_the_same(loaded, proto)
